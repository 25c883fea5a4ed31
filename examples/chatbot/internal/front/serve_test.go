package front

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// served is a Front that serves on a network in memory, for one bubble.
type served struct {
	t       *testing.T
	f       *Front
	end     context.CancelFunc
	done    chan error
	clients map[string]*http.Client // "http" and "admin"
}

func serve(t *testing.T, opts Options, drain time.Duration) *served {
	t.Helper()
	n := vsocktest.NewNetwork(vsocktest.Options{})
	s := &served{t: t, f: New(opts), done: make(chan error, 1), clients: map[string]*http.Client{}}
	listeners := map[string]net.Listener{}
	for _, name := range []string{"http", "admin"} {
		l, err := n.Listen(name)
		if err != nil {
			t.Fatal(err)
		}
		listeners[name] = l
		transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.Dial(ctx, name) }}
		s.clients[name] = &http.Client{Transport: transport}
		t.Cleanup(transport.CloseIdleConnections)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s.end = cancel
	go func() {
		s.done <- s.f.Serve(ctx, ServeOptions{Listener: listeners["http"], Admin: listeners["admin"], Drain: drain})
	}()
	t.Cleanup(func() {
		cancel()
		time.Sleep(time.Hour) // whatever lingers has ended
		n.Close()
	})
	return s
}

// status gets a path, and returns 0 if there is no answer.
func (s *served) status(server, path string) int {
	resp, err := s.clients[server].Get("http://parent" + path)
	if err != nil {
		return 0
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return resp.StatusCode
}

// slowly is an answer that takes a minute, with a line at either end.
var slowly = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	io.Copy(io.Discard, r.Body)
	io.WriteString(w, "begin\n")
	http.NewResponseController(w).Flush()
	select {
	case <-time.After(time.Minute):
		io.WriteString(w, "end\n")
	case <-r.Context().Done():
	}
})

// While it drains, a front is not ready and takes nothing new, but the answers
// under way go on, however long they have taken already.
func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{Session: slowly, Targets: well}, 2*time.Minute)
		if got := s.status("admin", "/readyz"); got != http.StatusOK {
			t.Errorf("HTTP %d", got)
		}
		resp, err := s.clients["http"].Post("http://parent"+sessionrpc.PathAsk, "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		s.end()
		synctest.Wait()
		if got := s.status("admin", "/readyz"); got != http.StatusServiceUnavailable {
			t.Errorf("ready while draining: HTTP %d", got)
		}
		if got := s.status("admin", "/healthz"); got != http.StatusOK {
			t.Errorf("not up while draining: HTTP %d", got)
		}
		if got := metric(t, s.f, "nitroseal_parent_draining"); got != 1 {
			t.Errorf("draining is %v", got)
		}
		if got := s.status("http", "/healthz"); got != 0 {
			t.Errorf("a new connection is served: HTTP %d", got)
		}
		if got, err := io.ReadAll(resp.Body); err != nil || string(got) != "begin\nend\n" {
			t.Errorf("%q, %v", got, err)
		}
		if err := <-s.done; err != nil {
			t.Error(err)
		}
		if got := s.status("admin", "/healthz"); got != 0 {
			t.Errorf("served after the end: HTTP %d", got)
		}
	})
}

// What takes longer than it may is cut.
func TestDrainCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := serve(t, Options{Session: slowly, Targets: well}, 10*time.Second)
		resp, err := s.clients["http"].Post("http://parent"+sessionrpc.PathAsk, "", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		began := time.Now()
		s.end()
		if err := <-s.done; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if got, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%q is taken for a whole answer", got)
		}
	})
}

// A listener that fails ends the front.
func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := New(Options{}).Serve(t.Context(), ServeOptions{Listener: l}); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// pair writes a certificate for name, and returns its files' contents.
func pair(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// A certificate that is replaced is served from the next handshake on; while
// its files do not fit together, or are gone, the old one is. HTTP/2 is there.
func TestTLSReload(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	writes := 0
	write := func(file string, data []byte) {
		t.Helper()
		writes++
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		at := time.Now().Add(time.Duration(writes) * time.Second) // file systems may have coarse clocks
		if err := os.Chtimes(file, at, at); err != nil {
			t.Fatal(err)
		}
	}
	oldCert, oldKey := pair(t, "old.example")
	newCert, newKey := pair(t, "new.example")
	write(certFile, oldCert)
	write(keyFile, newKey)
	if c, err := LoadCertificate(certFile, keyFile, nil); err == nil || c != nil {
		t.Fatal("a key that is another certificate's is accepted")
	}
	write(keyFile, oldKey)
	certificate, err := LoadCertificate(certFile, keyFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := New(Options{Targets: well})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Serve(ctx, ServeOptions{Listener: l, Certificate: certificate}) }()
	serves := func(want string) {
		t.Helper()
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		defer transport.CloseIdleConnections()
		resp, err := (&http.Client{Transport: transport}).Get("https://" + l.Addr().String() + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got := resp.TLS.PeerCertificates[0].Subject.CommonName; got != want || resp.ProtoMajor != 2 || resp.StatusCode != http.StatusOK {
			t.Errorf("%s, %s, HTTP %d; want %s", got, resp.Proto, resp.StatusCode, want)
		}
	}
	serves("old.example")
	write(certFile, newCert)
	serves("old.example") // its key is not there yet
	serves("old.example")
	if got := metric(t, f, "nitroseal_parent_certificate_reload_failures_total"); got != 1 {
		t.Errorf("%v failures", got)
	}
	write(keyFile, newKey)
	serves("new.example")
	if err := os.Remove(certFile); err != nil {
		t.Fatal(err)
	}
	serves("new.example")
	write(certFile, oldCert)
	write(keyFile, oldKey)
	serves("old.example")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
