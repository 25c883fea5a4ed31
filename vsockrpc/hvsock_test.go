package vsockrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// handshake runs connectHybrid with a monitor that reads the request and then
// goes on as script does, and closes. It returns what the stream has after the
// handshake, if that went well.
func handshake(ctx context.Context, t *testing.T, script func(monitor net.Conn)) (rest string, err error) {
	t.Helper()
	client, monitor := net.Pipe()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer monitor.Close()
		request := make([]byte, len("CONNECT 5005\n"))
		if _, err := io.ReadFull(monitor, request); err != nil || string(request) != "CONNECT 5005\n" {
			t.Errorf("%q, %v", request, err)
		}
		script(monitor)
	}()
	if err = connectHybrid(ctx, client, 5005); err == nil {
		var all []byte
		all, err = io.ReadAll(client)
		rest = string(all)
	}
	client.Close()
	<-done
	return rest, err
}

// says writes parts one by one.
func says(parts ...string) func(net.Conn) {
	return func(monitor net.Conn) {
		for _, p := range parts {
			if _, err := io.WriteString(monitor, p); err != nil {
				return
			}
		}
	}
}

func TestHandshake(t *testing.T) {
	for name, script := range map[string]func(net.Conn){
		"in one packet with early data": says("OK 1073741824\nearly\ndata"),
		"apart":                         says("OK 1073741824\n", "early\ndata"),
		"byte by byte":                  says("O", "K", " ", "7", "\n", "e", "arly\ndata"),
		"least":                         says("OK 0\nearly\ndata"),
		"most":                          says("OK 4294967295\nearly\ndata"),
	} {
		if rest, err := handshake(t.Context(), t, script); rest != "early\ndata" || err != nil {
			t.Errorf("%s: %q, %v", name, rest, err)
		}
	}
}

func TestHandshakeRefused(t *testing.T) {
	for _, reply := range []string{"", "OK", "OK ", "OK x", "OK 1 ", "OK  1", "OK 1\r", "OK -1", "OK +1", "OK 4294967296", "ok 1", "NOT OK 1",
		"1", "ERR", " OK 1", "\x00\xff"} {
		var wrong *HandshakeError
		_, err := handshake(t.Context(), t, says(reply+"\nmore", "more"))
		if !errors.As(err, &wrong) || *wrong != (HandshakeError{Port: 5005, Reply: reply}) || errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%q: %v", reply, err)
		}
	}
	for _, part := range []string{"O", "OK", "OK ", "OK 1"} {
		var wrong *HandshakeError
		if _, err := handshake(t.Context(), t, says(part)); !errors.As(err, &wrong) || wrong.Reply != part {
			t.Errorf("the end after %q: %v", part, err)
		}
	}
	if _, err := handshake(t.Context(), t, says()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed without an answer: %v", err)
	}
	// An answer without end is left after mostReply bytes.
	var wrong *HandshakeError
	_, err := handshake(t.Context(), t, func(monitor net.Conn) {
		n, err := monitor.Write(bytes.Repeat([]byte("OK 1"), 1000))
		if n != mostReply || err == nil {
			t.Errorf("%d bytes were read, %v", n, err)
		}
	})
	if !errors.As(err, &wrong) || len(wrong.Reply) != mostReply {
		t.Errorf("too long: %v", err)
	}
}

// A monitor that stops anywhere holds nobody for longer than the context lives,
// and a connection that has been made does not end with the context.
func TestHandshakeContext(t *testing.T) {
	for name, script := range map[string]func(net.Conn){
		"silent":  says(),
		"partial": says("OK 10737"),
		"wrong":   says("HELLO"),
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			_, err := handshake(ctx, t, func(monitor net.Conn) {
				script(monitor)
				monitor.Read(make([]byte, 1)) // until the other end is closed
			})
			if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
				t.Errorf("%s: %v after %v", name, err, time.Since(start))
			}
			ctx, cancel = context.WithCancel(t.Context())
			_, err = handshake(ctx, t, func(monitor net.Conn) {
				script(monitor)
				cancel()
				monitor.Read(make([]byte, 1))
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s, cancelled: %v", name, err)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		client, monitor := net.Pipe()
		defer client.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := connectHybrid(ctx, client, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("nobody reads: %v", err)
		}
		monitor.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		rest, err := handshake(ctx, t, func(monitor net.Conn) {
			says("OK 1\n")(monitor)
			<-ctx.Done()
			synctest.Wait()
			says("late")(monitor)
		})
		if rest != "late" || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
}

// FuzzReadOK takes any answer, never more of it than its first line and never
// more than mostReply bytes.
func FuzzReadOK(f *testing.F) {
	for _, s := range []string{"OK 1073741824\nstream", "OK 0\n", "OK 4294967296\n", "OK\n", "OK 1", "", "\n", "ERR\n", "OK 00000000000000000000000000000000000000000000000000000000000001\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := strings.NewReader(s)
		err := readOK(r, 1)
		taken := len(s) - r.Len()
		line, _, whole := strings.Cut(s, "\n")
		if most := len(line) + len("\n"); taken > most || taken > mostReply {
			t.Errorf("%q: %d bytes taken", s, taken)
		}
		if err == nil && (!whole || taken != len(line)+1 || !strings.HasPrefix(s, "OK ") || strings.Trim(line[3:], "0123456789") != "") {
			t.Errorf("%q: taken for an OK", s)
		}
		var wrong *HandshakeError
		switch {
		case err == nil:
		case s == "":
			if err != io.EOF {
				t.Error(err)
			}
		case !errors.As(err, &wrong) || !strings.HasPrefix(line, wrong.Reply):
			t.Errorf("%q: %v", s, err)
		}
	})
}
