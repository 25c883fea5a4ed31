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
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// startParent runs the parent in this process, by default without an enclave, and
// returns where it is.
func startParent(t *testing.T, args ...string) local.ParentReady {
	t.Helper()
	return startParentTo(t, io.Discard, args...)
}

// startParentTo is startParent whose standard error goes to log.
func startParentTo(t *testing.T, log io.Writer, args ...string) local.ParentReady {
	t.Helper()
	if !slices.Contains(args, "-enclave") {
		args = append(args, "-enclave", "unix://"+t.TempDir()+"/none")
	}
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, append([]string{"parent", "-listen", "127.0.0.1:0"}, args...), streams{strings.NewReader(""), in, log})
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
	return ready
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
	url := startParent(t, "-tls-cert", certFile, "-tls-key", keyFile).URL
	resp, err := pki.Client().Get(url + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if !strings.HasPrefix(url, "https://") || resp.StatusCode != http.StatusOK {
		t.Errorf("%s: HTTP %d", url, resp.StatusCode)
	}
}

// startEnclave serves sealed sessions at addr, and answers each question with
// its name and the question. The module's name is the enclave's.
func startEnclave(t *testing.T, ca *nsmtest.CA, pcrs attest.PCRs, addr, name string) (kill func()) {
	t.Helper()
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, KEM: session.X25519})
	if err != nil {
		t.Fatal(err)
	}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	sessionrpc.Register(srv, enclave, func(_ context.Context, req *session.Request, resp *session.Response) error {
		if err := resp.Send([]byte(name + ": ")); err != nil {
			return err
		}
		return resp.Finish(req.Payload)
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	kill = sync.OnceFunc(func() {
		srv.Close()
		<-served
		enclave.Close()
		nsm.Close()
	})
	t.Cleanup(kill)
	return kill
}

// Sealed sessions through the parent, with two enclaves, of which each answers
// what is sealed to it; when one is gone, its clients go to the other.
func TestParentWithTwoEnclaves(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pcrs := attest.PCRs{0: attest.ZeroPCR().Extend([]byte("image"))}
	dir := t.TempDir()
	kill := map[string]func(){}
	for _, name := range []string{"a", "b"} {
		kill[name] = startEnclave(t, ca, pcrs, "unix://"+dir+"/"+name, name)
	}
	parent := startParent(t, "-enclave", "unix://"+dir+"/a", "-enclave", "unix://"+dir+"/b", "-admin-listen", "127.0.0.1:0")
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: parent.URL})
	if err != nil {
		t.Fatal(err)
	}
	client := func() *session.Client {
		c, err := session.NewClient(session.ClientOptions{Transport: transport, RetryElsewhere: true, Enclave: attest.Options{
			Roots:  []*x509.Certificate{ca.Root()},
			Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "test", PCRs: pcrs}}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ask := func(c *session.Client) (who string) {
		t.Helper()
		answer := ""
		for part, err := range c.Ask(t.Context(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
			return []byte("a sealed canary"), nil
		}) {
			if err != nil {
				t.Fatal(err)
			}
			answer += string(part)
		}
		who, question, _ := strings.Cut(answer, ": ")
		if question != "a sealed canary" {
			t.Errorf("%q", answer)
		}
		return who
	}
	clients := map[string]*session.Client{}
	for len(clients) < 2 { // attestations are spread over both
		c := client()
		clients[ask(c)] = c
	}
	for range 3 {
		for name, c := range clients {
			if got := ask(c); got != name {
				t.Errorf("%s answers what was sealed to %s", got, name)
			}
		}
	}
	kill["a"]()
	if got := ask(clients["a"]); got != "b" {
		t.Errorf("%s answers", got)
	}
	resp, err := http.Get(parent.AdminURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil || !strings.Contains(string(metrics), `nitroseal_parent_enclaves{state="healthy"} 1`) || strings.Contains(string(metrics), "canary") {
		t.Errorf("%s, %v", metrics, err)
	}
}

// Without an enclave the parent says so, and stays up.
func TestParentWithoutEnclave(t *testing.T) {
	parent := startParent(t, "-admin-listen", "127.0.0.1:0")
	for range 2 {
		resp, err := http.Post(parent.URL+sessionrpc.PathAttest, "application/vnd.nitroseal.session", strings.NewReader("nonce"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable || !strings.Contains(string(body), "enclave_unavailable") {
			t.Errorf("HTTP %d, %s, %v", resp.StatusCode, body, err)
		}
	}
	for path, want := range map[string]int{"/healthz": http.StatusOK, "/readyz": http.StatusServiceUnavailable} {
		for _, url := range []string{parent.URL, parent.AdminURL} {
			resp, err := http.Get(url + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != want {
				t.Errorf("%s: HTTP %d", path, resp.StatusCode)
			}
		}
	}
}

// What the operator allows in a file is allowed, and nothing else; wrong flags
// are told of.
func TestParentFlags(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list.yaml")
	if err := os.WriteFile(list, []byte("allowlist:\n- {address: kms.example, port: 443}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	startParent(t, "-egress", "unix://"+dir+"/good=kms.example:443", "-egress-allowlist", list)
	for _, tt := range []struct {
		want int
		says string
		args []string
	}{
		{exitFailed, "allowlist", []string{"-egress", "unix://" + dir + "/bad=other.example:443", "-egress-allowlist", list}},
		{exitFailed, "none.yaml", []string{"-egress", "unix://" + dir + "/bad=kms.example:443", "-egress-allowlist", dir + "/none.yaml"}},
		{exitUsage, "-egress-allowlist", []string{"-egress-allowlist", list}},
		{exitUsage, "ADDRESS/BITS", []string{"-trusted-proxy", "10.0.0.1"}},
		{exitUsage, "-drain", []string{"-drain", "0"}},
		{exitUsage, "limits", []string{"-rate", "0"}},
		{exitUsage, "-tls-key", []string{"-tls-key", "x"}},
		{exitFailed, "target", []string{"-enclave", "unix://" + dir + "/e", "-enclave", "unix://" + dir + "/e"}},
	} {
		code, out, errOut := runArgs(t, "", append([]string{"parent", "-listen", "127.0.0.1:0"}, tt.args...)...)
		if code != tt.want || out != "" || !strings.Contains(errOut, tt.says) {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, out, errOut)
		}
	}
}

// What is dangerous is said aloud.
func TestParentWarnings(t *testing.T) {
	for _, tt := range []struct{ says, flag, value string }{
		{"plain HTTP", "-listen", "0.0.0.0:0"},
		{"-admin-listen", "-admin-listen", "0.0.0.0:0"},
		{"-insecure-blog-mode", "-insecure-blog-mode", ""},
	} {
		args := []string{tt.flag}
		if tt.value != "" {
			args = append(args, tt.value)
		}
		var log syncBuffer
		startParentTo(t, &log, args...)
		if !strings.Contains(log.String(), "WARNING") || !strings.Contains(log.String(), tt.says) {
			t.Errorf("%q: %q", args, log.String())
		}
	}
	var log syncBuffer
	startParentTo(t, &log, "-admin-listen", "127.0.0.1:0")
	if strings.Contains(log.String(), "WARNING") {
		t.Errorf("%q", log.String())
	}
}
