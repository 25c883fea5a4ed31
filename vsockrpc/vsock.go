package vsockrpc

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/mdlayher/vsock"
)

// vsockConn is a vsock connection that splits large writes, whoever makes
// them: some kernels corrupt those over 32 KiB. What reads and writes through
// Listen and Dial without the frames of this package, such as package proxy
// below net/http, is thus safe as well.
type vsockConn struct {
	*vsock.Conn
	mu sync.Mutex // keeps the parts of one Write together
}

// Write writes all of p, at most 32 KiB at a time.
func (c *vsockConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, err := writeParts(c.Conn, p)
	return n, closedError("write", err)
}

// CloseRead ends the direction from the other end.
func (c *vsockConn) CloseRead() error { return closedError("close", c.Conn.CloseRead()) }

// CloseWrite ends the direction to the other end, which reads io.EOF.
func (c *vsockConn) CloseWrite() error { return closedError("close", c.Conn.CloseWrite()) }

func writeParts(w io.Writer, p []byte) (n int, err error) {
	for {
		k, err := w.Write(p[n:min(len(p), n+maxFrame)])
		n += k
		if err != nil || n >= len(p) {
			return n, err
		}
	}
}

type vsockListener struct{ *vsock.Listener }

func listenVsock(a Addr) (net.Listener, error) {
	l, err := vsock.ListenContextID(a.CID, a.Port, nil)
	if err != nil {
		return nil, err // not a nil *vsock.Listener in an interface
	}
	return vsockListener{l}, nil
}

// Accept waits for a connection.
func (l vsockListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, closedError("accept", err)
	}
	if vc, ok := c.(*vsock.Conn); ok {
		c = &vsockConn{Conn: vc}
	}
	return c, nil
}

// closedError makes what package vsock says of closed sockets the errors that
// every other connection and listener has for them. Where writing fails since
// the connection is no longer one, package vsock says io.EOF, which is nothing
// that a Write may return.
func closedError(op string, err error) error {
	switch {
	case errors.Is(err, syscall.EBADF) || errors.Is(err, os.ErrClosed):
		return &net.OpError{Op: op, Net: "vsock", Err: net.ErrClosed}
	case op == "write" && err == io.EOF:
		return &net.OpError{Op: op, Net: "vsock", Err: syscall.EPIPE}
	}
	return err
}
