package proxy_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				all, _ := io.ReadAll(c)
				c.Write(all)
			}()
		}
	}()
	return l.Addr().String()
}

// TLS ends in the client, with the name of the real server, and the forwarder
// sees none of the plaintext.
func TestTLSEndToEnd(t *testing.T) {
	const secret = "the body that only the ends may read"
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(w, r.Body)
	}))
	defer srv.Close()
	target := srv.Listener.Addr().String()
	tap := &tapListener{}
	addr := address(t)
	inner, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	tap.Listener = inner
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	go f.Serve(tap)
	defer f.Close()

	// httptest's certificate is for example.com: the name is checked, though
	// the connection goes through a unix socket.
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"example.com:443": addr, "other.test:443": addr}})
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	resp, err := client.Post("https://Example.com/", "text/plain", strings.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != secret {
		t.Fatalf("%q, %v", body, err)
	}
	if seen := tap.seen(); len(seen) == 0 || bytes.Contains(seen, []byte(secret)) {
		t.Errorf("%d bytes passed the forwarder, with the plaintext: %v", len(seen), bytes.Contains(seen, []byte(secret)))
	}
	if _, err := client.Get("https://other.test/"); err == nil {
		t.Error("the server's certificate is not checked against the name")
	}
	if _, err := client.Get("https://example.org/"); !errors.Is(err, proxy.ErrNoRoute) {
		t.Errorf("an address without route: %v", err)
	}
}

// tapListener records what the enclave's side sends and gets.
type tapListener struct {
	net.Listener
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *tapListener) seen() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.buf.Bytes())
}

func (l *tapListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &tapConn{c, l}, nil
}

type tapConn struct {
	net.Conn
	l *tapListener
}

func (c *tapConn) record(p []byte) {
	c.l.mu.Lock()
	defer c.l.mu.Unlock()
	c.l.buf.Write(p)
}

func (c *tapConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.record(p[:n])
	return n, err
}

func (c *tapConn) Write(p []byte) (int, error) {
	c.record(p)
	return c.Conn.Write(p)
}

func TestHalfClose(t *testing.T) {
	addr, _ := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	c, err := vsockrpc.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sent := bytes.Repeat([]byte("half"), 100<<10)
	go func() {
		c.Write(sent)
		c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes, %v", len(got), len(sent), err)
	}
}

func TestManyConnections(t *testing.T) {
	addr, _ := forward(t, proxy.ForwarderOptions{Target: echoServer(t)})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			c, err := vsockrpc.Dial(t.Context(), addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			sent := bytes.Repeat([]byte{byte(i)}, 10_000)
			go func() {
				c.Write(sent)
				c.(interface{ CloseWrite() error }).CloseWrite()
			}()
			if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	wg.Wait()
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
	for _, target := range []string{"", "host", ":443", "host:"} {
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
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"host:443": "vsock://3:8000"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.DialContext(t.Context(), "udp", "host:443"); !errors.Is(err, proxy.ErrNoRoute) {
		t.Error(err)
	}
}
