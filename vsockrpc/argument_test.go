package vsockrpc_test

import (
	"context"
	"errors"
	"testing"
	"time"
	"unsafe"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// A name that no server takes fails its own call, not the connection.
func TestMethodThatIsNoText(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	st, err := c.Stream(t.Context(), "mirror")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := c.Call(t.Context(), "a\xff", nil); !errors.Is(err, vsockrpc.InvalidArgument) {
		t.Error(err)
	}
	if err := st.SendLast([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if m, err := st.Recv(); err != nil || string(m) != "x" {
		t.Errorf("another call: %q, %v", m, err)
	}
}

// A message that no frame can announce fails the call at once.
func TestMessageOf4GiB(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector does not let a test pretend to have so much memory")
	}
	n := 1
	if n <<= 32; n == 0 {
		t.Skip("no message has so many bytes on this machine")
	}
	req := unsafe.Slice(new(byte), n) // nobody looks into it
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := dial(t, addr).Call(ctx, "echo", req); !errors.Is(err, vsockrpc.ResourceExhausted) {
		t.Error(err)
	}
}
