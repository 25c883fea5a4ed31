package vsockrpc

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/mdlayher/vsock"
)

// What package vsock says of closed sockets, in the words that package net has
// for them. The transports' tests see that it is all of it.
func TestClosedErrors(t *testing.T) {
	other := errors.New("other")
	for _, tt := range []struct {
		op        string
		err, want error
	}{
		{"accept", &net.OpError{Err: os.NewSyscallError("accept4", syscall.EBADF)}, net.ErrClosed},
		{"close", &net.OpError{Err: os.NewSyscallError("shutdown", syscall.EBADF)}, net.ErrClosed},
		{"write", os.ErrClosed, net.ErrClosed},
		{"write", io.EOF, syscall.EPIPE},
		{"read", io.EOF, io.EOF},
		{"write", other, other},
		{"write", nil, nil},
	} {
		if got := closedError(tt.op, tt.err); !errors.Is(got, tt.want) {
			t.Errorf("%s, %v: %v, not %v", tt.op, tt.err, got, tt.want)
		}
	}
}

// Package vsock's connections have no ways to write that vsockConn does not
// know of, and that would go past its limit.
func TestVsockConnWrites(t *testing.T) {
	var c any = &vsockConn{Conn: &vsock.Conn{}}
	if _, ok := c.(io.ReaderFrom); ok {
		t.Error("io.Copy writes past Write")
	}
	if _, ok := c.(io.StringWriter); ok {
		t.Error("io.WriteString writes past Write")
	}
}
