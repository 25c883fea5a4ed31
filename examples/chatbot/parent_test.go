package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

// startParent runs the parent in this process and returns its URL.
func startParent(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"parent", "-listen", "127.0.0.1:0", "-enclave", "unix://" + t.TempDir() + "/none"}, args...), streams{strings.NewReader(""), in, io.Discard})
		in.Close()
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != exitOK {
			t.Errorf("exit status %d", code)
		}
	})
	var ready local.ParentReady
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		t.Fatal(err)
	}
	return ready.URL
}

func TestParentOverTLS(t *testing.T) {
	pki := httptest.NewTLSServer(http.NotFoundHandler()) // for its certificate
	defer pki.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pki.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: pki.Certificate().Raw}, keyFile: {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url := startParent(t, "-tls-cert", certFile, "-tls-key", keyFile)
	resp, err := pki.Client().Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasPrefix(url, "https://") || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: HTTP %d", url, resp.StatusCode)
	}
}

// Without an enclave the parent says so, and stays up.
func TestParentWithoutEnclave(t *testing.T) {
	url := startParent(t)
	for range 2 {
		resp, err := http.Post(url+"/v1/ask", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "enclave_unavailable") {
			t.Errorf("HTTP %d, %s, %v", resp.StatusCode, body, err)
		}
	}
}
