package front

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// record is what is remembered of one request, for the log and the metrics.
// It has no content, and nothing that tells clients apart.
type record struct {
	endpoint string // one of a few
	code     string // one of a few: "ok", or a word for what went wrong
	status   int
	in, out  int64
	segments int
	first    time.Duration // to the first segment, or 0
	took     time.Duration
}

type recordKey struct{}

// Observe is for RelayOptions.OnRequest: it notes what a relay did with a
// request, if that came through a Front.
func Observe(ctx context.Context, s sessionrpc.RelayStats) {
	if rec, ok := ctx.Value(recordKey{}).(*record); ok {
		rec.code, rec.status = s.Code, s.Status
		rec.in, rec.out, rec.segments, rec.first = s.BytesIn, s.BytesOut, s.Segments, s.First
	}
}

// guard stands around a handler: it holds clients to their limits, counts and
// logs requests, and keeps a panic from ending more than its own.
func (f *Front) guard(endpoint string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &record{endpoint: endpoint, code: string(wire.ReasonInternal)}
		defer func() {
			rec.took = time.Since(began)
			f.finish(rec)
		}()
		client := clientOf(r, f.opts.TrustedProxies)
		if reason, which := f.admit(client); reason != "" {
			f.metrics.limited(which)
			rec.code, rec.status = string(reason), refuse(w, reason)
			return
		}
		defer f.gate.leave(client)
		f.metrics.enter()
		defer f.metrics.leave()
		defer f.recoverPanic()
		h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), recordKey{}, rec)))
	})
}

// admit reports why a client's request is not taken, and which limit says so.
// A request that is taken must leave the gate.
func (f *Front) admit(client client) (reason wire.Reason, which string) {
	if !f.rates.allow(client) {
		return wire.ReasonRateLimited, "rate"
	}
	switch f.gate.enter(client) {
	case gateFull:
		return wire.ReasonOverloaded, "concurrent"
	case gateClientFull:
		return wire.ReasonRateLimited, "concurrent_per_client"
	}
	return "", ""
}

// refuse answers with a reason.
func refuse(w http.ResponseWriter, reason wire.Reason) (status int) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", "1")
	w.WriteHeader(reason.HTTPStatus())
	json.NewEncoder(w).Encode(wire.ErrorResponse{Error: wire.ErrorBody{Code: reason, Message: reason.Error()}})
	return reason.HTTPStatus()
}

// recoverPanic tells of a handler's panic without its value, which might hold
// content, and cuts the connection.
func (f *Front) recoverPanic() {
	switch v := recover(); {
	case v == nil:
	case isAbort(v):
		panic(v) // the handler has told of it
	default:
		f.metrics.panicked()
		f.opts.Logger.Error("a handler panicked", "stack", string(debug.Stack()))
		panic(http.ErrAbortHandler)
	}
}

func isAbort(v any) bool {
	err, ok := v.(error)
	return ok && errors.Is(err, http.ErrAbortHandler)
}

// finish counts and logs a request that has ended.
func (f *Front) finish(rec *record) {
	f.metrics.count(rec)
	f.opts.Logger.Info("request", "n", f.requests.Add(1), "endpoint", rec.endpoint, "code", rec.code, "status", rec.status,
		"bytes_in", rec.in, "bytes_out", rec.out, "segments", rec.segments, "ms", rec.took.Milliseconds())
	switch {
	case rec.code == "ok" && rec.segments > 0:
		f.opts.Steps.Print(3, "forward", rec.took, "%d sealed bytes to the enclave, %d bytes in %d segments back, passed on unread", rec.in, rec.out, rec.segments)
	case rec.code == "ok":
		f.opts.Steps.Print(3, "forward", rec.took, "%s: %d bytes to the enclave, %d bytes back, passed on", rec.endpoint, rec.in, rec.out)
	default:
		f.opts.Steps.Print(3, "forward", rec.took, "%s: refused or cut: %s", rec.endpoint, rec.code)
	}
}

// observed notes what a handler does that tells nobody: its status and how many
// bytes it writes.
func observed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, _ := r.Context().Value(recordKey{}).(*record)
		rec.in = max(r.ContentLength, 0)
		h.ServeHTTP(&observer{w, rec}, r)
		rec.code = "ok"
		if rec.status >= 400 {
			rec.code = "failed"
		}
	})
}

type observer struct {
	http.ResponseWriter
	rec *record
}

// Unwrap is for http.ResponseController.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// WriteHeader notes the status.
func (o *observer) WriteHeader(status int) {
	o.rec.status = status
	o.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (o *observer) Write(b []byte) (int, error) {
	if o.rec.status == 0 {
		o.rec.status = http.StatusOK
	}
	n, err := o.ResponseWriter.Write(b)
	o.rec.out += int64(n)
	return n, err
}
