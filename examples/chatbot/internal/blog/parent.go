package blog

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// DefaultTimeout bounds one question where ParentOptions do not. The post's
// client gives up after 20 seconds; a second less lets it read why.
const DefaultTimeout = 19 * time.Second

// Caller is the connection to the enclave; *vsockrpc.Client and *vsockrpc.Pool
// are ones.
type Caller interface {
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// ParentOptions configures NewParentHandler.
type ParentOptions struct {
	// Enclave takes the questions. Required.
	Enclave Caller
	// Timeout bounds one question from arrival to reply. 0 means
	// DefaultTimeout.
	Timeout time.Duration
	// MaxBody bounds the body of a request, in bytes. 0 means MaxRequest, and
	// more makes no sense, for the enclave takes no more than that.
	MaxBody int64
	// Logger gets a warning when the handler is made, and then one record a
	// request: outcome, sizes and time, no content. nil is silent.
	Logger *slog.Logger
}

// NewParentHandler returns the HTTP handler of the parent. It takes POST on the
// path / and hands the body to the enclave, byte for byte and whatever its
// content type, and the enclave's reply back. It does not parse either, but
// holds the user's credentials while it does so.
func NewParentHandler(opts ParentOptions) http.Handler {
	if opts.Timeout == 0 {
		opts.Timeout = DefaultTimeout
	}
	if opts.MaxBody == 0 {
		opts.MaxBody = MaxRequest
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	opts.Logger.Warn("insecure blog mode: users' AWS credentials pass through this process in clear")
	return &parent{opts}
}

type parent struct{ opts ParentOptions }

// ServeHTTP implements http.Handler.
func (p *parent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	in, reply, err := p.forward(w, r)
	status, outcome := http.StatusOK, "replied"
	var f failure
	if errors.As(err, &f) {
		status, outcome, reply = failures[f].status, string(f), member("error", string(f))
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if _, err := w.Write(reply); err != nil {
		outcome = "the client went away"
	}
	p.opts.Logger.Info("insecure blog mode: ask", "status", status, "outcome", outcome,
		"bytes_in", in, "bytes_out", len(reply), "ms", time.Since(start).Milliseconds())
}

// forward returns the enclave's reply and the size of the request. The error is
// a failure.
func (p *parent) forward(w http.ResponseWriter, r *http.Request) (in int, reply []byte, err error) {
	if r.URL.Path != "/" {
		return 0, nil, failPath
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return 0, nil, failMethod
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, p.opts.MaxBody))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return 0, nil, failTooLarge
		}
		return 0, nil, failRequest
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.opts.Timeout)
	defer cancel()
	reply, err = p.opts.Enclave.Call(ctx, Method, body)
	if err != nil {
		return len(body), nil, failureOf(err)
	}
	return len(body), reply, nil
}
