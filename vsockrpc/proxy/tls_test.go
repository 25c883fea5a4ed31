package proxy_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

// tlsServer starts a server whose certificate is for example.com, behind a
// Forwarder, and returns it with what passes the Forwarder and a Dialer that
// knows the server as hosts.
func tlsServer(t *testing.T, h http.HandlerFunc, config *tls.Config, hosts ...string) (*httptest.Server, *tapListener, *proxy.Dialer) {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = config
	srv.EnableHTTP2 = true
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are meant to fail
	srv.StartTLS()
	t.Cleanup(srv.Close)
	addr := address(t)
	inner, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	tap := &tapListener{Listener: inner}
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: srv.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(tap) }()
	t.Cleanup(func() { f.Close(); <-served })
	routes := map[string]string{}
	for _, h := range hosts {
		routes[h] = addr
	}
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: routes})
	if err != nil {
		t.Fatal(err)
	}
	return srv, tap, d
}

// client is an enclave's, with roots for its transport.
func client(t *testing.T, d *proxy.Dialer, roots *x509.CertPool) *http.Client {
	t.Helper()
	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: d, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func poolOf(srv *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	return pool
}

// TLS ends in the client, with the name of the real server, and the forwarder
// sees none of the plaintext.
func TestTLSEndToEnd(t *testing.T) {
	const secret = "the body that only the ends may read"
	srv, tap, d := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }, nil,
		"example.com:443", "other.test:443")
	c := client(t, d, poolOf(srv))
	resp, err := c.Post("https://Example.com/", "text/plain", strings.NewReader(secret))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(body) != secret {
		t.Fatalf("%q, %v", body, err)
	}
	if resp.ProtoMajor != 1 || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("%s over TLS %#x", resp.Proto, resp.TLS.Version)
	}
	if seen := tap.seen(); len(seen) == 0 || bytes.Contains(seen, []byte(secret)) {
		t.Errorf("%d bytes passed the forwarder, with the plaintext: %v", len(seen), bytes.Contains(seen, []byte(secret)))
	}
	var name x509.HostnameError
	if _, err := c.Get("https://other.test/"); !errors.As(err, &name) {
		t.Errorf("another server's certificate: %v", err)
	}
	if _, err := c.Get("https://example.org/"); !errors.Is(err, proxy.ErrNoRoute) {
		t.Errorf("an address without route: %v", err)
	}
}

// A server, or a parent in its place, that no root vouches for gets no request.
func TestWrongRoots(t *testing.T) {
	const secret = "never to be sent"
	_, _, d := tlsServer(t, func(http.ResponseWriter, *http.Request) { t.Error("a request came through") }, nil, "example.com:443")
	for name, roots := range map[string]*x509.CertPool{"by default": nil, "all": proxyhttp.Roots(), "AWS's": proxyhttp.AWSRoots(), "none": x509.NewCertPool()} {
		var unknown x509.UnknownAuthorityError
		if _, err := client(t, d, roots).Post("https://example.com/", "text/plain", strings.NewReader(secret)); !errors.As(err, &unknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTransportRefuses(t *testing.T) {
	large := strings.Repeat("x", 70<<10)
	srv, tap, d := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/header":
			w.Header().Set("Large", large)
		case "/redirect":
			http.Redirect(w, r, "http://example.com:443/", http.StatusTemporaryRedirect)
		}
	}, nil, "example.com:443")
	c := client(t, d, poolOf(srv))
	if _, err := c.Post("http://example.com:443/", "text/plain", strings.NewReader("plain")); !errors.Is(err, proxyhttp.ErrPlainHTTP) || len(tap.seen()) > 0 {
		t.Errorf("plain HTTP: %v, %d bytes passed", err, len(tap.seen()))
	}
	if _, err := c.Get("https://example.com/redirect"); !errors.Is(err, proxyhttp.ErrPlainHTTP) {
		t.Errorf("a redirect to plain HTTP: %v", err)
	}
	if _, err := c.Get("https://example.com/header"); err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("a large header: %v", err)
	}
	resp, err := c.Get("https://example.com/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	old, _, d := tlsServer(t, func(http.ResponseWriter, *http.Request) {}, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "example.com:443")
	if _, err := client(t, d, poolOf(old)).Get("https://example.com/"); err == nil || !strings.Contains(err.Error(), "protocol version") {
		t.Errorf("TLS 1.1: %v", err)
	}
	// The environment, which is not the enclave's to trust, names no proxy.
	if c.Transport.(*http.Transport).Proxy != nil {
		t.Error("a proxy is asked for")
	}
	if _, err := proxyhttp.NewTransport(proxyhttp.Options{}); err == nil {
		t.Error("a transport without a Dialer")
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
