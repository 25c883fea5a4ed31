package front

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// caller is an enclave of one function.
type caller func(ctx context.Context, method string, req []byte) ([]byte, error)

func (c caller) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return c(ctx, method, req)
}

func post(t *testing.T, opts Options, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, wire.Path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	NewHandler(opts).ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestPassesBytes(t *testing.T) {
	var log bytes.Buffer
	opts := Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Enclave: caller(func(ctx context.Context, method string, req []byte) ([]byte, error) {
		if method != wire.Method || string(req) != "not even JSON" {
			t.Errorf("%s: %q", method, req)
		}
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the call has no deadline")
		}
		return []byte("nor is this"), nil
	})}
	if code, body := post(t, opts, "not even JSON"); code != http.StatusOK || body != "nor is this" {
		t.Errorf("HTTP %d, %q", code, body)
	}
	if strings.Contains(log.String(), "not even") || strings.Contains(log.String(), "nor is") {
		t.Errorf("the log holds content: %s", &log)
	}
}

func TestErrors(t *testing.T) {
	for _, tt := range []struct {
		err    error
		reason wire.Reason
	}{
		{wire.ReasonKMSDenied.RPC(), wire.ReasonKMSDenied},
		{wire.ReasonPromptTooLong.RPC(), wire.ReasonPromptTooLong},
		{&vsockrpc.Error{Code: vsockrpc.Unavailable, Message: "secret-canary"}, wire.ReasonUnavailable},
		{&vsockrpc.Error{Code: vsockrpc.DeadlineExceeded}, wire.ReasonDeadline},
		{&vsockrpc.Error{Code: vsockrpc.Canceled}, wire.ReasonDeadline},
		{&vsockrpc.Error{Code: vsockrpc.ResourceExhausted}, wire.ReasonOverloaded},
		{&vsockrpc.Error{Code: vsockrpc.Internal, Message: "secret-canary"}, wire.ReasonInternal},
		{errors.New("secret-canary"), wire.ReasonInternal},
	} {
		code, body := post(t, Options{Enclave: caller(func(context.Context, string, []byte) ([]byte, error) { return nil, tt.err })}, "{}")
		var e wire.ErrorResponse
		if err := json.Unmarshal([]byte(body), &e); err != nil || code != tt.reason.HTTPStatus() || e.Error.Code != tt.reason || e.Error.Message != tt.reason.Error() {
			t.Errorf("%v: HTTP %d, %s", tt.err, code, body)
		}
		if strings.Contains(body, "canary") {
			t.Errorf("%v: the inner text is told: %s", tt.err, body)
		}
	}
}

func TestLimits(t *testing.T) {
	called := 0
	opts := Options{Enclave: caller(func(context.Context, string, []byte) ([]byte, error) {
		called++
		return []byte("{}"), nil
	})}
	if code, _ := post(t, opts, strings.Repeat("x", wire.MaxMessage)); code != http.StatusOK || called != 1 {
		t.Errorf("the largest request: HTTP %d", code)
	}
	if code, _ := post(t, opts, strings.Repeat("x", wire.MaxMessage+1)); code != http.StatusRequestEntityTooLarge || called != 1 {
		t.Errorf("a larger one: HTTP %d, %d calls", code, called)
	}
	for _, tt := range []struct {
		method, path, contentType string
		want                      int
	}{
		{http.MethodPost, wire.Path, "text/plain", http.StatusBadRequest},
		{http.MethodPost, wire.Path, "", http.StatusBadRequest},
		{http.MethodGet, wire.Path, "", http.StatusMethodNotAllowed},
		{http.MethodGet, "/healthz", "", http.StatusOK},
		{http.MethodPost, "/", "application/json", http.StatusNotFound},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, tt.path, strings.NewReader("{}"))
		r.Header.Set("Content-Type", tt.contentType)
		NewHandler(opts).ServeHTTP(w, r)
		if w.Code != tt.want || called != 1 {
			t.Errorf("%s %s: HTTP %d, want %d", tt.method, tt.path, w.Code, tt.want)
		}
	}
}

func TestTimeout(t *testing.T) {
	opts := Options{Timeout: time.Millisecond, Enclave: caller(func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, &vsockrpc.Error{Code: vsockrpc.DeadlineExceeded}
	})}
	if code, _ := post(t, opts, "{}"); code != http.StatusGatewayTimeout {
		t.Errorf("HTTP %d", code)
	}
}

// A client that goes away cancels the enclave's work.
func TestClientGoesAway(t *testing.T) {
	entered, left := make(chan struct{}), make(chan error, 1)
	srv := httptest.NewServer(NewHandler(Options{Enclave: caller(func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		left <- ctx.Err()
		return nil, ctx.Err()
	})}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL+wire.Path, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	go func() {
		<-entered
		cancel()
	}()
	if resp, err := http.DefaultClient.Do(req); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		t.Error(fmt.Errorf("HTTP %d", resp.StatusCode))
	}
	if err := <-left; err != context.Canceled {
		t.Error(err)
	}
}
