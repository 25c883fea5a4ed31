package vsockrpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// A peer that breaks the protocol is told so before the connection ends.
func TestGoAwayIsDelivered(t *testing.T) {
	addr := address(t, "unix")
	serve(t, addr, vsockrpc.ServerOptions{})
	for range 50 {
		nc, err := vsockrpc.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		const hello = "\x00\x00\x00\x10\x00\x00\x00\x00\x00\x00nitroseal-rpc/1\n"
		if _, err := io.WriteString(nc, hello+hello); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(nc)
		nc.Close()
		if err != nil || !bytes.HasSuffix(got, []byte("\x00\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x0d")) {
			t.Fatalf("% x, %v", got, err)
		}
	}
}

// A handler's number that is no code fails its own call and no other.
func TestUnknownCode(t *testing.T) {
	addr := address(t, "unix")
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	s.Handle("odd", func(context.Context, []byte) ([]byte, error) {
		return nil, &vsockrpc.Error{Code: 42, Message: "odd"}
	})
	s.Handle("odder", func(context.Context, []byte) ([]byte, error) { return nil, vsockrpc.Code(17) })
	s.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	c := dial(t, addr)
	for _, method := range []string{"odd", "odder"} {
		if _, err := c.Call(t.Context(), method, nil); !errors.Is(err, vsockrpc.Unknown) {
			t.Errorf("%s: %v", method, err)
		}
	}
	if _, err := c.Call(t.Context(), "echo", nil); err != nil {
		t.Error(err)
	}
}
