package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

// The secrets of the URL that all tests fetch.
const (
	fileURL = "https://user:canary1@example.com/models/m.gguf?X-Signature=canary2"
	canary  = "canary"
)

// pipes is a network in memory, so that time in a synctest bubble goes on
// while client and server wait for each other.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p.conns <- server
	return client, nil
}

// answer answers one request.
type answer func(o *origin, w http.ResponseWriter, r *http.Request)

// origin is a server with one file. Its script answers the first requests;
// later ones are answered as they should be.
type origin struct {
	content  []byte
	etag     string
	modified time.Time
	script   []answer

	mu       sync.Mutex
	requests []http.Header
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	n := len(o.requests)
	o.requests = append(o.requests, r.Header.Clone())
	o.mu.Unlock()
	if n < len(o.script) {
		o.script[n](o, w, r)
		return
	}
	o.serve(w, r)
}

// serve answers as it should be.
func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	if o.etag != "" {
		w.Header().Set("ETag", o.etag)
	}
	http.ServeContent(w, r, "m.gguf", o.modified, bytes.NewReader(o.content))
}

// ranges returns the Range of each request, "" for none.
func (o *origin) ranges() []string {
	var all []string
	for _, h := range o.requests {
		all = append(all, h.Get("Range"))
	}
	return all
}

// cutWriter breaks the connection after some bytes of the body.
type cutWriter struct {
	http.ResponseWriter
	left int
	then func()
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	c.ResponseWriter.Write(p[:c.left])
	http.NewResponseController(c.ResponseWriter).Flush()
	c.then()
	panic(http.ErrAbortHandler)
}

// cut serves n bytes and breaks the connection.
func cut(n int) answer {
	return func(o *origin, w http.ResponseWriter, r *http.Request) { o.serve(&cutWriter{w, n, func() {}}, r) }
}

// stall serves n bytes, and then nothing for a long time.
func stall(n int) answer {
	return func(o *origin, w http.ResponseWriter, r *http.Request) {
		o.serve(&cutWriter{w, n, func() { wait(r) }}, r)
	}
}

// wait waits until the client leaves.
func wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-time.After(24 * time.Hour):
	}
}

// status answers with a status, and header fields in pairs.
func status(code int, header ...string) answer {
	return func(_ *origin, w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		w.WriteHeader(code)
	}
}

// setup is a server, and options to fetch its file.
type setup struct {
	*origin
	opts fetch.Options
	part string
}

// bubble runs f with a server whose file has size random bytes, in a bubble
// where time costs nothing.
func bubble(t *testing.T, size int, f func(t *testing.T, s *setup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &origin{content: random(size), etag: `"v1"`}
		dir := t.TempDir()
		path := filepath.Join(dir, "m.gguf")
		s := &setup{o, fetch.Options{
			URL: fileURL, Path: path, SHA256: digest(o.content), Client: newClient(t, o),
		}, path + ".part"}
		f(t, s)
	})
}

func newClient(t *testing.T, h http.Handler) *http.Client {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener = p
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	client := srv.Client()
	client.Transport.(*http.Transport).DialContext = p.dial
	t.Cleanup(func() {
		client.CloseIdleConnections()
		srv.CloseClientConnections()
		srv.Close()
	})
	return client
}

func random(size int) []byte {
	b := make([]byte, size)
	src := rand.NewChaCha8([32]byte{byte(size)})
	src.Read(b)
	return b
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// left returns the names in the folder of the download.
func (s *setup) left(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(s.opts.Path))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// checkDone wants the file, and nothing but the file.
func (s *setup) checkDone(t *testing.T) {
	t.Helper()
	got, err := os.ReadFile(s.opts.Path)
	if err != nil || !bytes.Equal(got, s.content) {
		t.Errorf("%d bytes of %d, or others: %v", len(got), len(s.content), err)
	}
	if left := s.left(t); len(left) != 1 {
		t.Errorf("files %q", left)
	}
}
