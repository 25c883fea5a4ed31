package openai

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// MaxBody is the longest body of a request, in bytes.
const MaxBody = 2 << 20

// Options configures a handler.
type Options struct {
	// Asker answers the questions. Required.
	Asker ask.Asker
	// ModelID is the model's name in this API. Empty means one that is made
	// from the attested model's own name, in letters, digits and "._-".
	ModelID string
	// Token, if not empty, must come with each request, as OpenAI's API keys
	// do: Authorization: Bearer TOKEN.
	Token string
	// AllowedOrigins are the pages of other servers that may use the API: see
	// Guard. Without a Token that is all they need.
	AllowedOrigins []string
	// Temperature is for requests that name none, in 0 to 2. 0 means greedy,
	// unlike OpenAI's default of 1.
	Temperature float32
	// Timeout bounds one request, from its body to the end of its answer. 0
	// means 10 minutes.
	Timeout time.Duration
	// WriteTimeout bounds each write of a stream, so that a client that has
	// stopped reading does not keep a place in the enclave. 0 means 30 seconds.
	WriteTimeout time.Duration
	// Logger gets one record a request: what was called, the outcome and
	// counts; never what was said. nil is silent.
	Logger *slog.Logger
}

// NewHandler returns the API behind Guard.
func NewHandler(opts Options) http.Handler {
	if opts.Timeout == 0 {
		opts.Timeout = 10 * time.Minute
	}
	if opts.WriteTimeout == 0 {
		opts.WriteTimeout = 30 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{opts: opts, token: sha256.Sum256([]byte(opts.Token))}
	mux := http.NewServeMux()
	mux.Handle("/v1/models", h.endpoint("models", h.models, http.MethodGet, http.MethodHead))
	mux.Handle("/v1/models/{id...}", h.endpoint("model", h.model, http.MethodGet, http.MethodHead))
	mux.Handle("/v1/chat/completions", h.endpoint("chat", h.chat, http.MethodPost))
	mux.Handle("/v1/completions", h.endpoint("completion", h.completion, http.MethodPost))
	mux.Handle("/", h.endpoint("unknown", unknown))
	return Guard(mux, opts.AllowedOrigins...)
}

type handler struct {
	opts  Options
	token [sha256.Size]byte
}

// exchange is one request and what became of it.
type exchange struct {
	w       http.ResponseWriter
	r       *http.Request
	status  int
	code    string // of the error, if there was one
	started bool   // a stream has begun
	stream  sse
	counts  *usage
}

// fail tells the client of e, in the stream if that has begun.
func (x *exchange) fail(e *apiError) {
	x.code = e.code
	if x.started {
		x.stream.fail(e)
		return
	}
	x.status = e.status
	e.write(x.w)
}

// codeClientGone is in the log, for a client that went before it had its answer.
const codeClientGone = "client_gone"

// unanswered ends an exchange for which an Asker gave err. A request's context
// ends when the client goes, but also when the server stops: a client that is
// still there must not take what it has for an answer.
func (x *exchange) unanswered(err error) {
	switch {
	case errors.Is(err, errClientGone):
		x.code = codeClientGone
	case x.r.Context().Err() != nil:
		x.fail(fromReason(wire.ReasonNotReady))
		x.code = codeClientGone
	default:
		x.fail(failure(err))
	}
}

// endpoint is what all requests have in common: the token, the method, and the
// log. Without methods, all are taken.
func (h *handler) endpoint(name string, serve func(*exchange), methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := newID("req_")
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("Cache-Control", "no-store")
		x := &exchange{w: w, r: r, status: http.StatusOK}
		switch {
		case !h.authorized(r):
			w.Header().Set("WWW-Authenticate", "Bearer")
			x.fail(&apiError{status: http.StatusUnauthorized, kind: typeRequest, code: "invalid_api_key", message: "this server needs its token as the API key: Authorization: Bearer TOKEN"})
		case len(methods) > 0 && !slices.Contains(methods, r.Method):
			w.Header().Set("Allow", strings.Join(methods, ", "))
			x.fail(&apiError{status: http.StatusMethodNotAllowed, kind: typeRequest, code: "method_not_allowed", message: "this method is not allowed here"})
		default:
			serve(x)
		}
		attrs := []any{"endpoint", name, "request", id, "status", x.status, "code", x.code, "stream", x.started, "ms", time.Since(start).Milliseconds()}
		if u := x.counts; u != nil {
			attrs = append(attrs, "prompt_tokens", u.PromptTokens, "cached_tokens", u.PromptDetails.CachedTokens, "completion_tokens", u.CompletionTokens)
		}
		h.opts.Logger.Info("openai", attrs...)
	})
}

// authorized compares digests, so that neither the token nor its length shows
// in the time.
func (h *handler) authorized(r *http.Request) bool {
	if h.opts.Token == "" {
		return true
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	sum := sha256.Sum256([]byte(token))
	return subtle.ConstantTimeCompare(sum[:], h.token[:]) == 1 && strings.EqualFold(scheme, "Bearer")
}

func unknown(x *exchange) {
	x.fail(&apiError{status: http.StatusNotFound, kind: typeRequest, code: "unknown_url", message: "there is no such endpoint: there are /v1/models, /v1/chat/completions and /v1/completions"})
}

func (h *handler) chat(x *exchange) {
	h.generate(x, parseChat, func(call) presenter { return chatForm{} })
}

func (h *handler) completion(x *exchange) {
	h.generate(x, parseCompletion, func(c call) presenter { return &completionForm{logprobs: c.question.LogProbs} })
}

// generate reads a request, and answers it.
func (h *handler) generate(x *exchange, parse func([]byte, defaults) (call, *apiError), form func(call) presenter) {
	body, bad := readAll(x)
	if bad != nil {
		x.fail(bad)
		return
	}
	c, bad := parse(body, defaults{temperature: h.opts.Temperature, seed: randomSeed()})
	if bad != nil {
		x.fail(bad)
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), h.opts.Timeout)
	defer cancel()
	if err := h.answer(ctx, x, &c, form(c)); err != nil {
		x.unanswered(err)
	}
}

// readAll returns the body of a POST.
func readAll(x *exchange) ([]byte, *apiError) {
	media, params, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	charset := strings.ToLower(params["charset"])
	encoding := x.r.Header.Get("Content-Encoding")
	if err != nil || media != "application/json" || charset != "" && charset != "utf-8" || encoding != "" && encoding != "identity" {
		return nil, &apiError{status: http.StatusUnsupportedMediaType, kind: typeRequest, code: "unsupported_content_type", message: "the body must be application/json in UTF-8, not compressed"}
	}
	body, err := io.ReadAll(http.MaxBytesReader(x.w, x.r.Body, MaxBody))
	if err != nil {
		var large *http.MaxBytesError
		if errors.As(err, &large) {
			return nil, &apiError{status: http.StatusRequestEntityTooLarge, kind: typeRequest, code: "request_too_large", message: "the body is over 2 MiB"}
		}
		return nil, badRequest("incomplete_body", "", "the body is not complete")
	}
	return body, nil
}

// randomSeed is for a request that names none: it would get the same answer
// each time with any fixed one.
func randomSeed() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.NativeEndian.Uint32(b[:])
}

// newID returns a random name with prefix.
func newID(prefix string) string {
	var b [12]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}
