package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// Shutdown lets a connection finish and takes no new ones.
func TestShutdown(t *testing.T) {
	addr, f := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	c, err := vsockrpc.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("before ")); err != nil {
		t.Fatal(err)
	}
	// A second connection that is answered shows that the first was accepted.
	if got, err := roundTrip(t.Context(), addr, "probe"); err != nil || got != "probe" {
		t.Fatalf("%q, %v", got, err)
	}
	down := make(chan error, 1)
	go func() { down <- f.Shutdown(t.Context()) }()
	for { // until the listener is closed
		if _, err := roundTrip(t.Context(), addr, "late"); err != nil {
			break
		}
	}
	if _, err := c.Write([]byte("after")); err != nil {
		t.Fatal(err)
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "before after" {
		t.Errorf("%q, %v", got, err)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

func TestShutdownGivesUp(t *testing.T) {
	addr, f := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	c, err := vsockrpc.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := roundTrip(t.Context(), addr, "probe"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Shutdown(ctx); err != context.Canceled {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("the connection is still open")
	}
}

// A process that is out of file descriptors for a moment goes on serving.
func TestAcceptingTriesAgain(t *testing.T) {
	addr := address(t)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: echoServer(t)})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(&tiredListener{Listener: l}) }()
	if got, err := roundTrip(t.Context(), addr, "x"); err != nil || got != "x" {
		t.Errorf("%q, %v", got, err)
	}
	f.Close()
	if err := <-served; err != proxy.ErrClosed {
		t.Error(err)
	}

	l, err = vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	g, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: echoServer(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	l.Close()
	if err := g.Serve(l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a broken listener: %v", err)
	}
}

// What comes after Close has asked for the end is closed: a connection that is
// accepted then, and one to the target that a Dial brings in spite of it.
func TestTooLate(t *testing.T) {
	late, server := net.Pipe()
	defer server.Close()
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{
		Target: "192.0.2.1:443",
		Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return late, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	enclave, accepted := net.Pipe()
	second, never := net.Pipe()
	l := &lateListener{conns: []net.Conn{accepted, never}, close: f.Close}
	if err := f.Serve(l); err != proxy.ErrClosed {
		t.Error(err)
	}
	for _, c := range []net.Conn{enclave, second, server} {
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("a connection is still open: %v", err)
		}
	}
	if s, want := f.Stats(), (proxy.Stats{Accepted: 1, Refused: 1}); s != want {
		t.Errorf("%+v, want %+v", s, want)
	}
}

// lateListener closes its forwarder before it accepts the last connection.
type lateListener struct {
	conns []net.Conn
	close func() error
}

func (l *lateListener) Accept() (net.Conn, error) {
	if len(l.conns) == 0 {
		return nil, net.ErrClosed
	}
	if len(l.conns) == 1 {
		l.close()
	}
	c := l.conns[0]
	l.conns = l.conns[1:]
	return c, nil
}

func (l *lateListener) Close() error   { return nil }
func (l *lateListener) Addr() net.Addr { return &net.UnixAddr{Name: "late", Net: "unix"} }

// tiredListener fails twice before it accepts.
type tiredListener struct {
	net.Listener
	failed atomic.Int32
}

func (l *tiredListener) Accept() (net.Conn, error) {
	if l.failed.Add(1) <= 2 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

// roundTrip sends text over a connection of its own and returns the echo.
func roundTrip(ctx context.Context, addr, text string) (string, error) {
	c, err := vsockrpc.Dial(ctx, addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return "", err
	}
	got, err := io.ReadAll(c)
	return string(got), err
}
