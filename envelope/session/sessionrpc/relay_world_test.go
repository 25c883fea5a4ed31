package sessionrpc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// relayWorld is a relay's HTTP server and its enclaves on one network in memory,
// for one bubble. Its messages are not sealed: the first 8 bytes of a request,
// and of an attestation, are the key.
type relayWorld struct {
	t     *testing.T
	net   *vsocktest.Network
	relay *Relay
	http  *http.Client

	mu    sync.Mutex
	stats []RelayStats
}

// script is what an enclave does with a request.
type script func(ctx context.Context, req []byte, send func([]byte) error) error

// pinKey is a key of these tests.
func pinKey(name string) string {
	return (name + "\x00\x00\x00\x00\x00\x00\x00\x00")[:session.KeyIDSize]
}

func firstBytes(b []byte) (id session.KeyID, err error) {
	if len(b) < len(id) {
		return id, session.ErrMalformed
	}
	return session.KeyID(b[:len(id)]), nil
}

func newRelayWorld(t *testing.T, opts RelayOptions, enclaves ...string) *relayWorld {
	t.Helper()
	w := &relayWorld{t: t, net: vsocktest.NewNetwork(vsocktest.Options{Buffer: 64 << 10})}
	t.Cleanup(func() { w.net.Close() })
	var addrs []string
	for _, name := range enclaves {
		addrs = append(addrs, "mem://"+name)
	}
	pool, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{
		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return w.net.Dial(ctx, a.Path) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pool.Close() })
	opts.Pool = pool
	opts.OnRequest = func(_ context.Context, s RelayStats) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stats = append(w.stats, s)
	}
	if w.relay, err = NewRelay(opts); err != nil {
		t.Fatal(err)
	}
	w.relay.requestKey, w.relay.answerKey = firstBytes, firstBytes
	l, err := w.net.Listen("http")
	if err != nil {
		t.Fatal(err)
	}
	// A ReadTimeout that is over long before the answers are.
	srv := &http.Server{Handler: w.relay, ReadTimeout: time.Minute}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return w.net.Dial(ctx, "http") }}
	w.http = &http.Client{Transport: transport}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
		time.Sleep(time.Second) // connections that it cuts off linger for a moment
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return w
}

// enclave starts an enclave whose key is named as it is, and returns how to end
// it at once.
func (w *relayWorld) enclave(name string, do script) (kill func()) {
	w.t.Helper()
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	srv.Handle(MethodAttest, func(_ context.Context, req []byte) ([]byte, error) {
		return append([]byte(pinKey(name)), req...), nil
	})
	srv.HandleStream(MethodAsk, func(ctx context.Context, st *vsockrpc.ServerStream) error {
		req, err := st.Recv()
		if err != nil {
			return err
		}
		if _, err := st.Recv(); err != io.EOF {
			w.t.Errorf("more than one message: %v", err)
		}
		return do(ctx, req, st.Send)
	})
	l, err := w.net.Listen(name)
	if err != nil {
		w.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	kill = sync.OnceFunc(func() {
		srv.Close()
		<-served
	})
	w.t.Cleanup(kill)
	return kill
}

// post sends a request, and fails the test if there is no answer.
func (w *relayWorld) post(ctx context.Context, path, body string, header ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://parent"+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentTypeRequest)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := w.http.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp
}

// attest has an enclave's key noted, and returns it.
func (w *relayWorld) attest() string {
	w.t.Helper()
	resp := w.post(w.t.Context(), PathAttest, "nonce")
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentTypeRequest || !bytes.HasSuffix(b, []byte("nonce")) {
		w.t.Fatalf("HTTP %d, %q, %v", resp.StatusCode, b, err)
	}
	return string(b[:session.KeyIDSize])
}

// refused checks that a request failed, with a word and that word's text.
func (w *relayWorld) refused(resp *http.Response, want word) {
	w.t.Helper()
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Error(err)
	}
	var body struct {
		Error struct{ Code, Message string }
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&body); err != nil {
		w.t.Errorf("%q: %v", b, err)
	}
	info, ok := words[want]
	if !ok || resp.StatusCode != info.status || body.Error.Code != string(want) || body.Error.Message != info.text || resp.Header.Get("Content-Type") != "application/json" {
		w.t.Errorf("HTTP %d, %s; want %s", resp.StatusCode, b, want)
	}
	if (resp.Header.Get("Retry-After") != "") != (info.retryAfter > 0) {
		w.t.Errorf("%s: Retry-After %q", want, resp.Header.Get("Retry-After"))
	}
}

// last is what OnRequest was told last.
func (w *relayWorld) last() RelayStats {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.stats) == 0 {
		w.t.Fatal("OnRequest was told nothing")
	}
	return w.stats[len(w.stats)-1]
}
