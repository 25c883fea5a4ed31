package pid1

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestHeartbeat(t *testing.T) {
	for name, tt := range map[string]struct {
		parent func(net.Conn)
		ok     bool
	}{
		"answered": {func(c net.Conn) {
			var b [1]byte
			if _, err := io.ReadFull(c, b[:]); err != nil || b[0] != 0xb7 {
				t.Errorf("%#x, %v", b, err)
			}
			c.Write(b[:])
		}, true},
		"another byte": {func(c net.Conn) { io.ReadFull(c, make([]byte, 1)); c.Write([]byte{1}) }, false},
		"hung up":      {func(c net.Conn) { io.ReadFull(c, make([]byte, 1)); c.Close() }, false},
		"closed":       {func(c net.Conn) { c.Close() }, false},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer theirs.Close()
			go tt.parent(theirs)
			err := heartbeat(t.Context(), func(context.Context) (net.Conn, error) { return ours, nil })
			if (err == nil) != tt.ok {
				t.Error(err)
			}
			if _, err := ours.Write([]byte{1}); !errors.Is(err, io.ErrClosedPipe) {
				t.Error("the connection is open still:", err)
			}
		})
	}
	// Who takes the connection and says nothing does not hold the enclave up,
	// nor does who never answers the call.
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go io.Copy(io.Discard, theirs)
		start := time.Now()
		err := heartbeat(t.Context(), func(context.Context) (net.Conn, error) { return ours, nil })
		if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != heartbeatTimeout {
			t.Error(time.Since(start), err)
		}
		err = heartbeat(t.Context(), func(ctx context.Context) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
