package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// modelName is what the fake enclave attests, and modelID what becomes of it.
const (
	modelName = "Larkfield bloom/7"
	modelID   = "Larkfield-bloom-7"
)

// canary is in everything that may not be told or logged.
const canary = "canary-5e1f"

// asker is an Asker whose answers are written down.
type asker struct {
	chunks []ask.Chunk
	err    error // after the chunks
	attErr error // in place of an attestation
	// hold, if not nil, is called before each chunk, and before err.
	hold func(ctx context.Context) error

	mu        sync.Mutex
	questions []ask.Question
}

func (a *asker) Ask(ctx context.Context, q ask.Question) iter.Seq2[ask.Chunk, error] {
	a.mu.Lock()
	a.questions = append(a.questions, q)
	a.mu.Unlock()
	return func(yield func(ask.Chunk, error) bool) {
		for _, c := range a.chunks {
			if a.hold != nil {
				if err := a.hold(ctx); err != nil {
					yield(ask.Chunk{}, err)
					return
				}
			}
			if !yield(c, nil) {
				return
			}
		}
		if a.err != nil {
			yield(ask.Chunk{}, a.err)
		}
	}
}

func (a *asker) Attestation(context.Context) (*ask.Attestation, error) {
	if a.attErr != nil {
		return nil, a.attErr
	}
	return &ask.Attestation{
		Document:   &attest.Document{PCRs: attest.PCRs{0: attest.ZeroPCR().Extend([]byte("image"))}},
		VerifiedAt: time.Unix(1_790_000_000, 0),
		Simulated:  true,
		Model:      ask.Model{Name: modelName, Digest: strings.Repeat("ab", 32), MaxTokens: 2048},
	}, nil
}

// asked returns the only question.
func (a *asker) asked(t *testing.T) ask.Question {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.questions) != 1 {
		t.Fatalf("%d questions, want 1", len(a.questions))
	}
	return a.questions[0]
}

// text is a chunk of an answer.
func text(s string) ask.Chunk {
	return ask.Chunk{Chunk: inference.Chunk{Text: s}}
}

// end is the last chunk of an answer.
func end(reason inference.FinishReason) ask.Chunk {
	return ask.Chunk{Chunk: inference.Chunk{FinishReason: reason, Usage: &inference.Usage{PromptTokens: 7, CachedTokens: 3, GeneratedTokens: 2}}}
}

// hello answers in two pieces.
func hello() *asker {
	return &asker{chunks: []ask.Chunk{text(" Hel"), text("lo"), end(inference.FinishStop)}}
}

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

// chatBody is a request with more members, each with a comma before it.
func chatBody(more string) string {
	return `{"model":"` + modelID + `","messages":[{"role":"user","content":"hi"}]` + more + `}`
}

func completionBody(more string) string {
	return `{"model":"` + modelID + `","prompt":"hi"` + more + `}`
}

// request is one to the server's own address, as a program sends it.
func request(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, "http://127.0.0.1:8080"+path, strings.NewReader(body))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// serve returns what the handler answers.
func serve(opts Options, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	NewHandler(opts).ServeHTTP(w, r)
	return w
}

func post(a ask.Asker, path, body string) *httptest.ResponseRecorder {
	return serve(Options{Asker: a}, request(http.MethodPost, path, body))
}

// told is an error as clients read it.
type told struct {
	Error struct {
		Message, Type string
		Param, Code   *string
	}
}

// refusal checks the form of an error and returns its code and parameter.
func refusal(t *testing.T, w *httptest.ResponseRecorder) (code, param string) {
	t.Helper()
	var e told
	d := json.NewDecoder(w.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil || e.Error.Message == "" || e.Error.Type == "" || e.Error.Code == nil {
		t.Fatalf("not an error of OpenAI's form: HTTP %d, %v", w.Code, err)
	}
	if ct := w.Header().Get("Content-Type"); ct != "application/json" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers of an error: %v", w.Header())
	}
	if e.Error.Param != nil {
		param = *e.Error.Param
	}
	return *e.Error.Code, param
}

var varying = regexp.MustCompile(`"(id|created)":("[a-z]+-[0-9a-f]{24}"|[0-9]{10})`)

// steady replaces what differs from run to run.
func steady(body string) string { return varying.ReplaceAllString(body, `"$1":0`) }

// logger returns a logger, and what it has written.
func logger() (*slog.Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return slog.New(slog.NewJSONHandler(&b, nil)), &b
}

// listen starts the handler on a real port.
func listen(t *testing.T, opts Options) string {
	t.Helper()
	srv := httptest.NewServer(NewHandler(opts))
	t.Cleanup(srv.Close)
	return srv.URL
}

// postTo sends a request that ends with ctx. The caller closes the body.
func postTo(ctx context.Context, t *testing.T, url, body string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	return http.DefaultClient.Do(r)
}

func readString(t *testing.T, r io.Reader) string {
	t.Helper()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
