// Package front is the parent's HTTP server: it takes encrypted questions and
// hands them, byte for byte, to the enclave. It holds ciphertext and, in this
// first form, the delegated credentials; it never parses either.
package front

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Caller is the connection to the enclave; *vsockrpc.Client is one.
type Caller interface {
	Call(ctx context.Context, method string, req []byte) ([]byte, error)
}

// Options configures a Handler.
type Options struct {
	// Enclave takes the questions. Required.
	Enclave Caller
	// Timeout bounds one question from arrival to reply. 0 means 60 seconds.
	Timeout time.Duration
	// Logger gets one record a request: outcome, sizes and time, no content.
	// nil is silent.
	Logger *slog.Logger
	// Steps, if not nil, is told of each step.
	Steps *step.Printer
}

// NewHandler returns the parent's HTTP handler: POST wire.Path asks, GET
// /healthz says that the parent itself is up.
func NewHandler(opts Options) http.Handler {
	if opts.Timeout == 0 {
		opts.Timeout = 60 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h := &handler{opts}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.Path, h.ask)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "ok\n")
	})
	return mux
}

type handler struct{ opts Options }

func (h *handler) ask(w http.ResponseWriter, r *http.Request) {
	start := time.Now()
	in, out, reason := h.forward(w, r)
	status := http.StatusOK
	if reason != "" {
		status = reason.HTTPStatus()
		h.fail(w, reason)
	}
	h.opts.Logger.Info("ask", "status", status, "reason", string(reason), "bytes_in", in, "bytes_out", out, "ms", time.Since(start).Milliseconds())
}

// forward passes the body to the enclave and the enclave's reply to w. A
// non-empty reason means that nothing was written yet.
func (h *handler) forward(w http.ResponseWriter, r *http.Request) (in, out int, reason wire.Reason) {
	if mt, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || mt != "application/json" {
		return 0, 0, wire.ReasonBadRequest
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, wire.MaxMessage))
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return 0, 0, wire.ReasonTooLarge
		}
		return 0, 0, wire.ReasonBadRequest
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	start := time.Now()
	reply, err := h.opts.Enclave.Call(ctx, wire.Method, body)
	if err != nil {
		return len(body), 0, reasonOf(err)
	}
	h.opts.Steps.Print(3, "forward", time.Since(start), "%d bytes of JSON to the enclave, %d bytes back, passed on unread", len(body), len(reply))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if _, err := w.Write(reply); err != nil {
		h.opts.Logger.Warn("the client went away", "bytes_out", len(reply))
	}
	return len(body), len(reply), ""
}

func (h *handler) fail(w http.ResponseWriter, reason wire.Reason) {
	h.opts.Steps.Print(3, "forward", 0, "refused: %s", string(reason))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(reason.HTTPStatus())
	json.NewEncoder(w).Encode(wire.ErrorResponse{Error: wire.ErrorBody{Code: reason, Message: reason.Error()}})
}

// reasonOf translates the error of a call. An enclave names its reason in the
// error's message; what the transport itself reports has only a code.
func reasonOf(err error) wire.Reason {
	var e *vsockrpc.Error
	if errors.As(err, &e) {
		if r := wire.ParseReason(e.Message); r != wire.ReasonInternal {
			return r
		}
	}
	switch vsockrpc.CodeOf(err) {
	case vsockrpc.Unavailable:
		return wire.ReasonUnavailable
	case vsockrpc.DeadlineExceeded, vsockrpc.Canceled:
		return wire.ReasonDeadline
	case vsockrpc.ResourceExhausted:
		return wire.ReasonOverloaded
	}
	return wire.ReasonInternal
}
