package sessionrpc

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// maxAttestRequest bounds a request for an attestation, in bytes: it is for the
// enclave to say what one looks like, and none needs more.
const maxAttestRequest = 1 << 10

// RelayOptions configures NewRelay.
type RelayOptions struct {
	// Pool has the enclaves. Required. The caller closes it. Its client must
	// take messages of session.MaxSegment bytes, as it does by default, and the
	// enclaves' servers messages of MaxRequest.
	Pool *vsockrpc.Pool
	// MaxRequest bounds a sealed request, in bytes; larger ones are refused
	// while they arrive. 0 means session.MaxRequest, and more makes no sense.
	// Requests are held in memory whole: how many there are at a time is for
	// whoever stands before the Relay to bound.
	MaxRequest int
	// MaxKeys bounds how many of the enclaves' keys are remembered, those used
	// last. A client whose key was forgotten is told to attest anew. An enclave
	// has a handful of keys at a time. 0 means 1,024.
	MaxKeys int
	// Timeout bounds a request from its arrival to its last segment. A client
	// may ask for less with the header Nitroseal-Timeout-Ms. 0 means 5 minutes.
	Timeout time.Duration
	// BodyTimeout bounds how long a request may take to arrive. 0 means 30
	// seconds.
	BodyTimeout time.Duration
	// WriteTimeout bounds how long a client may take to make room for one
	// segment; then the connection is cut, and the enclave's work with it. 0
	// means 30 seconds.
	WriteTimeout time.Duration
	// OnRequest is told of each request when it has ended, on its goroutine and
	// with its context, for metrics and logs. nil: nothing is.
	OnRequest func(context.Context, RelayStats)
}

// RelayStats tells of one request that a Relay has served. It has no content,
// and nothing that tells clients apart.
type RelayStats struct {
	// Attest is whether it was a request for an attestation, and not a sealed
	// one.
	Attest bool
	// Status is the HTTP status. An answer that was cut keeps its 200.
	Status int
	// Code is how the request ended: "ok", "client_gone", or the word that the
	// client was told, or would have been had the answer not begun.
	Code string
	// BytesIn and BytesOut count the bodies, in bytes, Segments what BytesOut
	// had of them.
	BytesIn, BytesOut int64
	Segments          int
	// First is the time from the request's arrival to the first segment, or 0;
	// Took to the end.
	First, Took time.Duration
}

// Relay is the parent's part in sessions: an http.Handler for PathAttest and
// PathAsk that passes what it gets to the enclaves of a pool, unread. It is safe
// for concurrent use.
//
// Each enclave has keys of its own. The Relay notes the names of those that
// attestations through it announce, and gives a sealed request to the enclave
// that has its key. Where it does not know the key, or that enclave is gone, the
// answer is key_unknown, upon which a client attests anew; such a request has
// reached no enclave.
//
// Segments are flushed one by one. A client that does not read holds up no other
// one: its enclave's stream stops, by flow control, and WriteTimeout ends it. A
// client that leaves cancels its enclave's work.
//
// The server around it must not have a WriteTimeout, which would cut long
// answers; the Relay sets deadlines of its own for reading and writing. It limits
// neither rates nor how many requests there are.
type Relay struct {
	opts       RelayOptions
	keys       *keyMap
	requestKey func([]byte) (session.KeyID, error)
	answerKey  func([]byte) (session.KeyID, error)
}

// NewRelay returns a Relay. The error is for options that cannot work.
func NewRelay(opts RelayOptions) (*Relay, error) {
	if opts.Pool == nil {
		return nil, errors.New("sessionrpc: a relay without a pool of enclaves")
	}
	if opts.MaxRequest <= 0 {
		opts.MaxRequest = session.MaxRequest
	}
	if opts.MaxKeys <= 0 {
		opts.MaxKeys = 1024
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 5 * time.Minute
	}
	if opts.BodyTimeout <= 0 {
		opts.BodyTimeout = 30 * time.Second
	}
	if opts.WriteTimeout <= 0 {
		opts.WriteTimeout = 30 * time.Second
	}
	return &Relay{opts, newKeyMap(opts.MaxKeys), session.RequestKeyID, session.AttestationKeyID}, nil
}

// ServeHTTP serves PathAttest and PathAsk, and refuses everything else.
func (r *Relay) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var serve func(*exchange, context.Context, []byte) word
	limit := r.opts.MaxRequest
	switch req.URL.Path {
	case PathAttest:
		serve, limit = r.attest, maxAttestRequest
	case PathAsk:
		serve = r.ask
	default:
		http.NotFound(w, req)
		return
	}
	x := &exchange{w: w, rc: http.NewResponseController(w), began: time.Now()}
	x.stats.Attest = req.URL.Path == PathAttest
	code := r.receive(x, req, limit, serve)
	if code != wordOK && x.stats.Status == 0 {
		x.refuse(code)
	}
	if report := r.opts.OnRequest; report != nil {
		x.stats.Code, x.stats.Took = string(code), time.Since(x.began)
		report(req.Context(), x.stats)
	}
	if code != wordOK && x.stats.Status == http.StatusOK {
		panic(http.ErrAbortHandler) // so that the client sees that it was cut
	}
}

// receive reads the request and has it served, within its deadline.
func (r *Relay) receive(x *exchange, req *http.Request, limit int, serve func(*exchange, context.Context, []byte) word) word {
	if req.Method != http.MethodPost {
		x.w.Header().Set("Allow", http.MethodPost)
		return wordMethod
	}
	timeout, ok := timeoutOf(req.Header, r.opts.Timeout)
	if !ok || !isSealed(req.Header) {
		return wordBadRequest
	}
	ctx, cancel := context.WithTimeout(req.Context(), timeout)
	defer cancel()
	body, code := x.body(req, limit, min(timeout, r.opts.BodyTimeout))
	if code != wordOK {
		return code
	}
	code = serve(x, ctx, body)
	if code != wordOK && req.Context().Err() != nil {
		return wordClientGone
	}
	return code
}

// attest passes a request for an attestation to any enclave, and notes which
// one has the key of the answer.
func (r *Relay) attest(x *exchange, ctx context.Context, body []byte) word {
	var addr string
	answer, err := r.opts.Pool.Call(vsockrpc.ServedBy(ctx, &addr), MethodAttest, body)
	if err != nil {
		return wordFor(err)
	}
	if len(answer) > session.MaxAttestAnswer {
		return wordInternal
	}
	key, err := r.answerKey(answer)
	if err != nil {
		return wordInternal
	}
	r.keys.put(key, addr)
	x.w.Header().Set("Content-Type", contentTypeRequest)
	x.begin()
	return x.write(ctx, r.opts.WriteTimeout, answer)
}
