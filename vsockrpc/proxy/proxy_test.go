package proxy_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// forward runs a Forwarder to target and returns its address.
func forward(t *testing.T, opts proxy.ForwarderOptions) (string, *proxy.Forwarder) {
	t.Helper()
	addr := address(t)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	f, err := proxy.NewForwarder(opts)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- f.Serve(l) }()
	t.Cleanup(func() {
		f.Close()
		if err := <-done; err != proxy.ErrClosed {
			t.Errorf("Serve: %v", err)
		}
	})
	return addr, f
}

// echoServer answers each connection with what it sent, once it has ended.
func echoServer(t *testing.T) string {
	t.Helper()
	return serve(t, func(c net.Conn) {
		all, _ := io.ReadAll(c)
		c.Write(all)
	})
}

func TestConnectionsEnd(t *testing.T) {
	closed := func(c net.Conn) {
		t.Helper()
		c.SetReadDeadline(time.Now().Add(time.Minute))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the connection is still open: %v", err)
		}
		c.Close()
	}
	dial := func(addr string) net.Conn {
		t.Helper()
		c, err := vsockrpc.Dial(t.Context(), addr)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// Nothing listens on a port that was just closed.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	addr, _ := forward(t, proxy.ForwarderOptions{Target: l.Addr().String()})
	closed(dial(addr))

	addr, _ = forward(t, proxy.ForwarderOptions{Target: echoServer(t), MaxConns: 1, IdleTimeout: 200 * time.Millisecond})
	first := dial(addr)
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	closed(dial(addr)) // one too many
	closed(first)      // idle for too long

	addr, f := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	open := dial(addr)
	f.Close()
	closed(open)
}

func TestBadOptions(t *testing.T) {
	long := strings.Repeat("a", 64)
	for _, target := range []string{
		"", "host", ":443", "host:", "host:https", "host:0", "host:65536", "host:0443", "host:+443", "host:-1",
		"ho st:443", "h\u00f6st:443", "\u212ams:443", "host..x:443", ".:443", long + ":443", strings.Repeat("abc.", 64) + "x:443",
		"*.amazonaws.com:443", "user@host:443", "host/:443", "http://host:443", "::1:443", "[::1:443",
		// What some resolvers take for 127.0.0.1 is no name.
		"127.1:443", "2130706433:443", "0x7f000001:443", "127.0.0.0x1:443", "0177.0.0.1:443", "0x:443",
	} {
		if _, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target}); err == nil {
			t.Errorf("target %q accepted", target)
		}
		if _, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{target: "vsock://3:8000"}}); err == nil {
			t.Errorf("route %q accepted", target)
		}
	}
	if _, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"host:443": "nowhere"}}); err == nil {
		t.Error("a route to no address accepted")
	}
	if _, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"host:443": "vsock://3:8000", "HOST:443": "vsock://3:8001"}}); err == nil {
		t.Error("two routes to one host and port accepted")
	}
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"host:443": "vsock://3:8000"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range [][2]string{{"udp", "host:443"}, {"unix", "host:443"}, {"tcp", "host:80"}, {"tcp", "other:443"}, {"tcp", "host"}} {
		if _, err := d.DialContext(t.Context(), to[0], to[1]); !errors.Is(err, proxy.ErrNoRoute) {
			t.Errorf("%v: %v", to, err)
		}
	}
}
