package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

func TestToken(t *testing.T) {
	for header, want := range map[string]int{
		"Bearer t0ken":   http.StatusOK,
		"bearer t0ken":   http.StatusOK,
		"":               http.StatusUnauthorized,
		"Bearer":         http.StatusUnauthorized,
		"Bearer ":        http.StatusUnauthorized,
		"Bearer t0ke":    http.StatusUnauthorized,
		"Bearer t0ken ":  http.StatusUnauthorized,
		"Bearer  t0ken":  http.StatusUnauthorized,
		"Basic t0ken":    http.StatusUnauthorized,
		"t0ken":          http.StatusUnauthorized,
		"Bearer t0kent0": http.StatusUnauthorized,
	} {
		for _, r := range []*http.Request{
			request(http.MethodGet, "/v1/models", ""), request(http.MethodGet, "/v1/models/"+modelID, ""),
			request(http.MethodPost, chatPath, chatBody("")), request(http.MethodPost, completionPath, completionBody("")),
		} {
			if header != "" {
				r.Header.Set("Authorization", header)
			}
			w := serve(Options{Asker: hello(), Token: "t0ken"}, r)
			if w.Code != want {
				t.Errorf("%q, %s: HTTP %d, want %d", header, r.URL.Path, w.Code, want)
			}
			if want == http.StatusUnauthorized {
				if code, _ := refusal(t, w); code != "invalid_api_key" || w.Header().Get("WWW-Authenticate") != "Bearer" {
					t.Errorf("%q: %s, %v", header, code, w.Header())
				}
			}
		}
	}
	// Even what is not there is told to those with the token only.
	if w := serve(Options{Asker: hello(), Token: "t0ken"}, request(http.MethodGet, "/v1/embeddings", "")); w.Code != http.StatusUnauthorized {
		t.Errorf("unknown path: HTTP %d", w.Code)
	}
}

func TestRoutes(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{http.MethodGet, chatPath, http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPut, chatPath, http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodOptions, chatPath, http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodDelete, completionPath, http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPost, "/v1/models", http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodDelete, "/v1/models/" + modelID, http.StatusMethodNotAllowed, "method_not_allowed"},
		{http.MethodPost, "/v1/embeddings", http.StatusNotFound, "unknown_url"},
		{http.MethodPost, "/v1/responses", http.StatusNotFound, "unknown_url"},
		{http.MethodPost, "/v1/chat/completions/x", http.StatusNotFound, "unknown_url"},
		{http.MethodGet, "/", http.StatusNotFound, "unknown_url"},
		{http.MethodGet, "/" + canary, http.StatusNotFound, "unknown_url"},
	} {
		w := serve(Options{Asker: hello()}, request(tt.method, tt.path, "{}"))
		if strings.Contains(w.Body.String(), canary) {
			t.Errorf("%s is repeated: %s", tt.path, w.Body)
		}
		if code, _ := refusal(t, w); w.Code != tt.status || code != tt.code || (w.Header().Get("Allow") == "") != (tt.status == http.StatusNotFound) {
			t.Errorf("%s %s: HTTP %d, %s, %v", tt.method, tt.path, w.Code, code, w.Header())
		}
	}
	if w := serve(Options{Asker: hello()}, request(http.MethodHead, "/v1/models", "")); w.Code != http.StatusOK {
		t.Errorf("HEAD: HTTP %d", w.Code)
	}
}

func TestContentType(t *testing.T) {
	for _, tt := range []struct {
		contentType, encoding string
		want                  int
	}{
		{"application/json", "", http.StatusOK},
		{"application/json; charset=utf-8", "identity", http.StatusOK},
		{"Application/JSON;charset=UTF-8", "", http.StatusOK},
		{"", "", http.StatusUnsupportedMediaType},
		// What pages may send to other origins without asking.
		{"text/plain", "", http.StatusUnsupportedMediaType},
		{"text/plain; application/json", "", http.StatusUnsupportedMediaType},
		{"application/x-www-form-urlencoded", "", http.StatusUnsupportedMediaType},
		{"multipart/form-data; boundary=x", "", http.StatusUnsupportedMediaType},
		{"application/json; charset=latin1", "", http.StatusUnsupportedMediaType},
		{"application/json", "gzip", http.StatusUnsupportedMediaType},
	} {
		r := request(http.MethodPost, chatPath, chatBody(""))
		r.Header.Set("Content-Type", tt.contentType)
		if tt.encoding != "" {
			r.Header.Set("Content-Encoding", tt.encoding)
		}
		a := hello()
		w := serve(Options{Asker: a}, r)
		if w.Code != tt.want || (len(a.questions) == 1) != (tt.want == http.StatusOK) {
			t.Errorf("%q %q: HTTP %d, %d questions", tt.contentType, tt.encoding, w.Code, len(a.questions))
		}
		if w.Code != http.StatusOK {
			refusal(t, w)
		}
	}
}

// brokenBody fails after its first bytes.
type brokenBody struct{ *strings.Reader }

func (b brokenBody) Read(p []byte) (int, error) {
	if n, err := b.Reader.Read(p); err == nil {
		return n, nil
	}
	return 0, errors.New(canary)
}

func TestBodyLimit(t *testing.T) {
	fill := func(n int) string {
		pad := n - len(chatBody(`,"user":""`))
		return chatBody(`,"user":"` + strings.Repeat("x", pad) + `"`)
	}
	if w := post(hello(), chatPath, fill(MaxBody)); w.Code != http.StatusOK {
		t.Errorf("the largest: HTTP %d, %s", w.Code, w.Body)
	}
	a := hello()
	w := post(a, chatPath, fill(MaxBody+1))
	if code, _ := refusal(t, w); w.Code != http.StatusRequestEntityTooLarge || code != "request_too_large" || len(a.questions) > 0 {
		t.Errorf("a larger one: HTTP %d, %s", w.Code, code)
	}
	r := request(http.MethodPost, chatPath, "")
	r.Body = struct {
		brokenBody
		closer
	}{brokenBody: brokenBody{strings.NewReader(`{"model":`)}}
	w = serve(Options{Asker: hello()}, r)
	if code, _ := refusal(t, w); w.Code != http.StatusBadRequest || code != "incomplete_body" {
		t.Errorf("half a body: HTTP %d, %s", w.Code, code)
	}
}

type closer struct{}

func (closer) Close() error { return nil }

// Nothing of what is said gets into the log, and what counts does.
func TestLog(t *testing.T) {
	log, logged := logger()
	last := end(inference.FinishStop)
	last.Receipt = []byte(canary)
	a := &asker{chunks: []ask.Chunk{text(canary), last}}
	opts := Options{Asker: a, Logger: log, Token: canary}
	for _, body := range []string{
		chatBody(`,"stop":"` + canary + `","user":"` + canary + `","nitroseal":{"receipt":true}`),
		strings.Replace(chatBody(`,"stream":true`), "hi", canary, 1),
		chatBody(`,"` + canary + `":1`),
		strings.Replace(chatBody(""), modelID, canary, 1),
		canary,
	} {
		r := request(http.MethodPost, chatPath+"?"+canary, body)
		r.Header.Set("Authorization", "Bearer "+canary)
		r.Header.Set("User-Agent", canary)
		serve(opts, r)
	}
	serve(opts, request(http.MethodGet, "/"+canary, ""))
	if strings.Contains(logged.String(), canary) {
		t.Errorf("content is logged: %s", logged)
	}
	var codes []string
	for line := range bytes.Lines(logged.Bytes()) {
		var rec struct {
			Endpoint, Request, Code string
			Status                  int
			Prompt                  int `json:"prompt_tokens"`
			Cached                  int `json:"cached_tokens"`
			Completion              int `json:"completion_tokens"`
		}
		if err := json.Unmarshal(line, &rec); err != nil || rec.Endpoint == "" || rec.Request == "" || rec.Status == 0 {
			t.Errorf("%s: %v", line, err)
		}
		if rec.Code == "" && (rec.Prompt != 7 || rec.Cached != 3 || rec.Completion != 2) {
			t.Errorf("counts in %s", line)
		}
		codes = append(codes, rec.Code)
	}
	if got := strings.Join(codes, " "); got != "  unknown_parameter model_not_found invalid_json invalid_api_key" {
		t.Errorf("codes %q", got)
	}
}

// slowWriter has the deadlines of its writes, and fails from the nth on.
type slowWriter struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	failFrom  int
}

func (w *slowWriter) SetWriteDeadline(t time.Time) error {
	w.deadlines = append(w.deadlines, t)
	return nil
}

func (w *slowWriter) Write(b []byte) (int, error) {
	if w.failFrom > 0 && len(w.deadlines) >= w.failFrom {
		return 0, errors.New("broken pipe")
	}
	return w.ResponseRecorder.Write(b)
}

// A client that reads nothing does not hold the enclave for good.
func TestWriteTimeout(t *testing.T) {
	w := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
	before := time.Now()
	NewHandler(Options{Asker: hello(), WriteTimeout: time.Hour}).ServeHTTP(w, request(http.MethodPost, chatPath, chatBody(`,"stream":true`)))
	if len(w.deadlines) != 5 { // role, two pieces, reason, [DONE]
		t.Fatalf("%d deadlines", len(w.deadlines))
	}
	for _, d := range w.deadlines {
		if d.Before(before.Add(time.Hour)) || d.After(time.Now().Add(time.Hour)) {
			t.Errorf("deadline in %v", d.Sub(before))
		}
	}
}

// When a write fails, the question ends: no more of the answer is asked for.
func TestWriteFails(t *testing.T) {
	log, logged := logger()
	asked := 0
	a := hello()
	for range 100 {
		a.chunks = append([]ask.Chunk{text("x")}, a.chunks...)
	}
	a.hold = func(ctx ctx) error { asked++; return nil }
	w := &slowWriter{ResponseRecorder: httptest.NewRecorder(), failFrom: 3}
	NewHandler(Options{Asker: a, Logger: log}).ServeHTTP(w, request(http.MethodPost, chatPath, chatBody(`,"stream":true`)))
	if asked != 2 || strings.Contains(w.Body.String(), "error") || !strings.Contains(logged.String(), codeClientGone) {
		t.Errorf("%d chunks asked for; sent %s; logged %s", asked, w.Body, logged)
	}
}
