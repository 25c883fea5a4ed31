package blog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// enclave is one of a single function.
type enclave func(ctx context.Context, method string, req []byte) ([]byte, error)

func (e enclave) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return e(ctx, method, req)
}

func serve(opts ParentOptions, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	NewParentHandler(opts).ServeHTTP(w, r)
	return w
}

func post(body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
}

// errorIn reads {"error": "…"}.
func errorIn(t *testing.T, w *httptest.ResponseRecorder) string {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || len(e) != 1 || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%q, content type %q, %v", w.Body, w.Header().Get("Content-Type"), err)
	}
	return e["error"]
}

// Bytes pass unread both ways, whatever the content type.
func TestParentPassesBytes(t *testing.T) {
	var log bytes.Buffer
	opts := ParentOptions{Logger: slog.New(slog.NewTextHandler(&log, nil)), Enclave: enclave(func(ctx context.Context, method string, req []byte) ([]byte, error) {
		if _, ok := ctx.Deadline(); !ok || method != "chatbot.blog.v1.Ask" || string(req) != "not even\x00JSON" {
			t.Errorf("%s: %q", method, req)
		}
		return []byte("nor\x00is this"), nil
	})}
	for _, contentType := range []string{"application/json", "application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ";;", ""} {
		r := post("not even\x00JSON")
		r.Header.Set("Content-Type", contentType)
		if w := serve(opts, r); w.Code != http.StatusOK || w.Body.String() != "nor\x00is this" || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%q: HTTP %d, %q", contentType, w.Code, w.Body)
		}
	}
	if strings.Contains(log.String(), "not even") || strings.Contains(log.String(), "is this") {
		t.Errorf("the log holds content: %s", &log)
	}
}

func TestParentRefusals(t *testing.T) {
	opts := ParentOptions{MaxBody: 10, Enclave: enclave(func(context.Context, string, []byte) ([]byte, error) {
		t.Error("called")
		return nil, nil
	})}
	for _, tt := range []struct {
		method, path, body string
		status             int
		want               failure
	}{
		{http.MethodGet, "/", "", 405, failMethod},
		{http.MethodHead, "/", "", 405, failMethod},
		{http.MethodPut, "/", "{}", 405, failMethod},
		{http.MethodDelete, "/", "", 405, failMethod},
		{http.MethodOptions, "/", "", 405, failMethod},
		{http.MethodPost, "/other", "{}", 404, failPath},
		{http.MethodPost, "//", "{}", 404, failPath},
		{http.MethodPost, "/", "12345678901", 413, failTooLarge},
	} {
		w := serve(opts, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if w.Code != tt.status || errorIn(t, w) != string(tt.want) || (w.Code == 405) != (w.Header().Get("Allow") == "POST") {
			t.Errorf("%s %s: HTTP %d, %q", tt.method, tt.path, w.Code, w.Body)
		}
	}
	broken := httptest.NewRequest(http.MethodPost, "/", io.MultiReader(strings.NewReader("{"), failing{}))
	if w := serve(opts, broken); w.Code != 400 || errorIn(t, w) != string(failRequest) {
		t.Errorf("a body that breaks off: HTTP %d, %q", w.Code, w.Body)
	}
}

// failing is a body that breaks off.
type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("canary") }

// What the enclave or the transport says becomes a text of the list.
func TestParentTranslatesErrors(t *testing.T) {
	type want struct {
		status int
		text   failure
	}
	check := func(err error, want want) {
		t.Helper()
		w := serve(ParentOptions{Enclave: enclave(func(context.Context, string, []byte) ([]byte, error) { return nil, err })}, post("{}"))
		if got := errorIn(t, w); w.Code != want.status || got != string(want.text) {
			t.Errorf("%v: HTTP %d, %q", err, w.Code, got)
		}
	}
	for f, info := range failures {
		check(f.rpc(), want{info.status, f})
	}
	check(&vsockrpc.Error{Code: vsockrpc.Unavailable, Message: "canary"}, want{503, failUnreachable})
	check(&vsockrpc.Error{Code: vsockrpc.DeadlineExceeded}, want{504, failDeadline})
	check(&vsockrpc.Error{Code: vsockrpc.Canceled}, want{504, failDeadline})
	check(&vsockrpc.Error{Code: vsockrpc.ResourceExhausted}, want{429, failOverloaded})
	check(&vsockrpc.Error{Code: vsockrpc.Unimplemented}, want{500, failInternal})
	check(&vsockrpc.Error{Code: vsockrpc.Internal, Message: "canary"}, want{500, failInternal})
	check(errors.New("canary"), want{500, failInternal})
}

// The default deadline ends before the post's client gives up.
func TestParentTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		w := serve(ParentOptions{Enclave: enclave(func(ctx context.Context, _ string, _ []byte) ([]byte, error) {
			<-ctx.Done()
			return nil, vsockrpc.DeadlineExceeded
		})}, post("{}"))
		took := time.Since(start)
		if w.Code != 504 || took >= 20*time.Second || took < 15*time.Second {
			t.Errorf("HTTP %d after %v", w.Code, took)
		}
	})
}
