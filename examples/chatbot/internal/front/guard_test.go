package front

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

const canary = "canary-51c3"

// relayed is a handler that tells what a relay would.
func relayed(s sessionrpc.RelayStats) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(s.Status)
		io.WriteString(w, canary)
		Observe(r.Context(), s)
	})
}

func well() []vsockrpc.TargetStats { return []vsockrpc.TargetStats{{Addr: "mem://a", Healthy: true}} }

// ask makes one request as a client at addr, and returns its status and body.
func ask(h http.Handler, method, path, addr string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(canary))
	r.RemoteAddr = addr
	r.Header.Set("User-Agent", canary)
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// metric scrapes the front as an operator does, and returns one sample.
func metric(t *testing.T, f *Front, name string) float64 {
	t.Helper()
	w := httptest.NewRecorder()
	f.Admin().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != contentTypeMetrics {
		t.Fatalf("HTTP %d, %v", w.Code, w.Header())
	}
	s, err := parseScrape(w.Body.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, w.Body)
	}
	v, ok := s.samples[name]
	if !ok {
		t.Errorf("no %s in\n%s", name, w.Body)
	}
	return v
}

// Requests are counted by how they ended, with their sizes and times.
func TestMetrics(t *testing.T) {
	f := New(Options{
		Session: relayed(sessionrpc.RelayStats{Status: 200, Code: "ok", BytesIn: 100, BytesOut: 3000, Segments: 7, First: 20 * time.Millisecond}),
		Blog:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }),
		Targets: func() []vsockrpc.TargetStats {
			return append(well(), vsockrpc.TargetStats{Addr: `unix:///a "b"`, Calls: 9, InFlight: 2}, vsockrpc.TargetStats{Addr: "c", Draining: true})
		},
		Egress: []Egress{{"vsock://3:8000", "kms.example:443", func() proxy.Stats { return proxy.Stats{Accepted: 5, BytesUp: 6, Forbidden: 1} }}},
	})
	h := f.Handler()
	for range 3 {
		ask(h, http.MethodPost, sessionrpc.PathAsk, "192.0.2.1:1")
	}
	ask(h, http.MethodPost, sessionrpc.PathAttest, "192.0.2.1:1")
	if code, _ := ask(h, http.MethodPost, "/", "192.0.2.1:1"); code != http.StatusBadGateway {
		t.Errorf("HTTP %d", code)
	}
	for name, want := range map[string]float64{
		`nitroseal_parent_requests_total{endpoint="ask",code="ok"}`:                                        3,
		`nitroseal_parent_requests_total{endpoint="attest",code="ok"}`:                                     1,
		`nitroseal_parent_requests_total{endpoint="blog",code="failed"}`:                                   1,
		`nitroseal_parent_request_duration_seconds_count{endpoint="ask"}`:                                  3,
		`nitroseal_parent_first_byte_seconds_bucket{endpoint="ask",le="0.01"}`:                             0,
		`nitroseal_parent_first_byte_seconds_bucket{endpoint="ask",le="0.025"}`:                            3,
		`nitroseal_parent_received_bytes_total{endpoint="ask"}`:                                            300,
		`nitroseal_parent_sent_bytes_total{endpoint="ask"}`:                                                9000,
		`nitroseal_parent_received_bytes_total{endpoint="blog"}`:                                           float64(len(canary)),
		`nitroseal_parent_sent_bytes_total{endpoint="blog"}`:                                               3,
		`nitroseal_parent_segments_total`:                                                                  28,
		`nitroseal_parent_requests_in_flight`:                                                              0,
		`nitroseal_parent_draining`:                                                                        0,
		`nitroseal_parent_enclaves{state="healthy"}`:                                                       1,
		`nitroseal_parent_enclaves{state="set_aside"}`:                                                     1,
		`nitroseal_parent_enclaves{state="draining"}`:                                                      1,
		`nitroseal_parent_enclave_calls_total{enclave="unix:///a \"b\""}`:                                  9,
		`nitroseal_parent_enclave_calls_in_flight{enclave="unix:///a \"b\""}`:                              2,
		`nitroseal_parent_egress_connections_total{listener="vsock://3:8000",target="kms.example:443"}`:    5,
		`nitroseal_parent_egress_sent_bytes_total{listener="vsock://3:8000",target="kms.example:443"}`:     6,
		`nitroseal_parent_egress_forbidden_total{listener="vsock://3:8000",target="kms.example:443"}`:      1,
		`nitroseal_parent_egress_connections{listener="vsock://3:8000",target="kms.example:443"}`:          0,
		`nitroseal_parent_egress_received_bytes_total{listener="vsock://3:8000",target="kms.example:443"}`: 0,
		`nitroseal_parent_egress_idle_timeouts_total{listener="vsock://3:8000",target="kms.example:443"}`:  0,
		`nitroseal_parent_limited_total{limit="rate"}`:                                                     0,
		`nitroseal_parent_connection_errors_total`:                                                         0,
		`nitroseal_parent_certificate_reload_failures_total`:                                               0,
	} {
		if got := metric(t, f, name); got != want {
			t.Errorf("%s is %v, not %v", name, got, want)
		}
	}
}

// Clients over a limit are told so, in the form of all errors; others are not
// held up.
func TestLimits(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	f := New(Options{
		Session: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == sessionrpc.PathAsk {
				entered <- struct{}{}
				<-release
			}
			Observe(r.Context(), sessionrpc.RelayStats{Code: "ok", Status: 200})
		}),
		Limits: Limits{Rate: 1e-6, Burst: 4, Concurrent: 3, ConcurrentPerClient: 2},
	})
	h := f.Handler()
	done := make(chan int)
	hold := func(addr string) {
		go func() {
			code, _ := ask(h, http.MethodPost, sessionrpc.PathAsk, addr)
			done <- code
		}()
		<-entered
	}
	refused := func(addr string, want wire.Reason) {
		t.Helper()
		code, body := ask(h, http.MethodPost, sessionrpc.PathAttest, addr)
		var e wire.ErrorResponse
		if err := json.Unmarshal([]byte(body), &e); err != nil || code != http.StatusTooManyRequests || e.Error.Code != want || e.Error.Message != want.Error() {
			t.Errorf("HTTP %d, %s", code, body)
		}
	}
	hold("192.0.2.1:1")
	hold("192.0.2.1:2")
	refused("192.0.2.1:3", wire.ReasonRateLimited)
	hold("[2001:db8::1]:1")
	refused("[2001:db8::2]:1", wire.ReasonOverloaded)
	if got := metric(t, f, "nitroseal_parent_requests_in_flight"); got != 3 {
		t.Errorf("%v in flight", got)
	}
	close(release)
	for range 3 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("HTTP %d", code)
		}
	}
	for _, want := range []int{http.StatusOK, http.StatusTooManyRequests} { // the fourth and fifth of this client
		if code, _ := ask(h, http.MethodPost, sessionrpc.PathAttest, "192.0.2.1:4"); code != want {
			t.Errorf("HTTP %d, not %d", code, want)
		}
	}
	if code, _ := ask(h, http.MethodPost, sessionrpc.PathAttest, "192.0.2.2:4"); code != http.StatusOK {
		t.Errorf("another client: HTTP %d", code)
	}
	for limit, want := range map[string]float64{"rate": 1, "concurrent": 1, "concurrent_per_client": 1} {
		if got := metric(t, f, `nitroseal_parent_limited_total{limit="`+limit+`"}`); got != want {
			t.Errorf("%s: %v", limit, got)
		}
	}
}

// A log tells of requests, and neither of contents nor of who asked, whatever
// happens; nor do the metrics and the steps.
func TestLogsHoldNoContent(t *testing.T) {
	var log, steps bytes.Buffer
	stats := sessionrpc.RelayStats{Status: 200, Code: "ok", BytesIn: 11, BytesOut: 11, Segments: 1}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == sessionrpc.PathAttest {
			panic(canary)
		}
		relayed(stats).ServeHTTP(w, r)
	})
	f := New(Options{Session: h, Blog: h, Targets: well, Limits: Limits{Burst: 5, Rate: 1e-6},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), Steps: step.New(&steps, "parent")})
	srv := f.Handler()
	const addr = "203.0.113.77:40123"
	ask(srv, http.MethodPost, sessionrpc.PathAsk+"?q="+canary, addr)
	ask(srv, http.MethodPost, "/?q="+canary, addr)
	ask(srv, http.MethodPost, "/"+canary, addr)
	func() {
		defer func() {
			if v := recover(); v != http.ErrAbortHandler {
				t.Errorf("%v", v)
			}
		}()
		ask(srv, http.MethodPost, sessionrpc.PathAttest, addr)
	}()
	for range 5 {
		ask(srv, http.MethodPost, sessionrpc.PathAsk, addr)
	}
	f.server(srv).ErrorLog.Printf("http: TLS handshake error from %s: %s", addr, canary)
	if got := metric(t, f, "nitroseal_parent_panics_total") + metric(t, f, "nitroseal_parent_connection_errors_total"); got != 2 {
		t.Errorf("%v", got)
	}
	w := httptest.NewRecorder()
	f.Admin().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for what, text := range map[string]string{"log": log.String(), "steps": steps.String(), "metrics": w.Body.String()} {
		for _, secret := range []string{canary, "203.0.113", "40123"} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s holds %q:\n%s", what, secret, text)
			}
		}
	}
	for _, line := range []string{"n=1 endpoint=ask code=ok status=200 bytes_in=11 bytes_out=11 segments=1 ms=", "n=3 endpoint=attest code=internal", "code=rate_limited status=429", "a handler panicked"} {
		if !strings.Contains(log.String(), line) {
			t.Errorf("no %q in the log:\n%s", line, &log)
		}
	}
	if n := strings.Count(log.String(), "msg=request"); n != 8 {
		t.Errorf("%d requests in the log", n)
	}
}

// What is not asked for is not there.
func TestEndpoints(t *testing.T) {
	none, all := New(Options{}), New(Options{Targets: well, Session: relayed(sessionrpc.RelayStats{Status: 200, Code: "ok"}), Blog: relayed(sessionrpc.RelayStats{Status: 200, Code: "ok"})})
	for _, tt := range []struct {
		h            http.Handler
		method, path string
		want         int
	}{
		{none.Handler(), http.MethodPost, sessionrpc.PathAsk, http.StatusNotFound},
		{none.Handler(), http.MethodPost, "/", http.StatusNotFound},
		{none.Handler(), http.MethodGet, "/healthz", http.StatusOK},
		{none.Handler(), http.MethodGet, "/readyz", http.StatusServiceUnavailable},
		{all.Handler(), http.MethodPost, sessionrpc.PathAsk, http.StatusOK},
		{all.Handler(), http.MethodPost, "/", http.StatusOK},
		{all.Handler(), http.MethodGet, "/", http.StatusMethodNotAllowed},
		{all.Handler(), http.MethodPost, "/other", http.StatusNotFound},
		{all.Handler(), http.MethodGet, "/readyz", http.StatusOK},
		{all.Handler(), http.MethodGet, "/metrics", http.StatusNotFound},
		{all.Admin(), http.MethodGet, "/metrics", http.StatusOK},
		{all.Admin(), http.MethodPost, sessionrpc.PathAsk, http.StatusNotFound},
	} {
		if code, _ := ask(tt.h, tt.method, tt.path, "192.0.2.1:1"); code != tt.want {
			t.Errorf("%s %s: HTTP %d, not %d", tt.method, tt.path, code, tt.want)
		}
	}
}
