package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
)

const (
	// defaultWindow is how far a request's time may be from the enclave's.
	defaultWindow = 5 * time.Minute
	// defaultPad is the padding step of answers, in bytes.
	defaultPad = 128
	// maxAttesting is how many attestation documents are asked for at a time;
	// the device makes one after the other.
	maxAttesting = 8
)

// EnclaveOptions configures NewEnclave.
type EnclaveOptions struct {
	// Attester makes the attestation documents. *attest.NSM is one. Required
	// unless there is a Recipient.
	Attester attest.Attester
	// Recipient, if not nil, has its public key in the documents, so that
	// clients can sign KMS requests for this enclave (SealData). It attests
	// with its own Attester.
	Recipient *envelope.Recipient
	// Info is what the enclave wants to have attested beside its key, at most
	// MaxInfo bytes; the form is the application's.
	Info []byte
	// KEM chooses the key agreement. 0 means MLKEM768X25519.
	KEM KEM
	// RotateAfter is how long a key is given out. Clients may use it for as
	// long again, and a minute later the enclave forgets it. At least a minute;
	// 0 means 30.
	RotateAfter time.Duration
	// MaxRequests is how many requests one key opens; when three quarters are
	// used up, another is given out. Each takes some 40 bytes of memory for as
	// long as the key lives, and about as long again: with the at most 24 keys
	// of an enclave that is flooded some 60 MiB. 0 means 65,536.
	MaxRequests int
	// Window is how far the time in a request may be from Clock's, before or
	// after. It keeps the parent from delivering a question much later. 0
	// means 5 minutes.
	Window time.Duration
	// Pad is the step to which the segments of answers are padded, in bytes, at
	// most 4,096. Without padding the sizes of streamed tokens tell much of the
	// text. 0 means 128; a negative number turns padding off.
	Pad int
	// Clock tells the time. nil means time.Now, whose monotonic reading keeps
	// a parent that sets the clock from keeping keys alive.
	Clock func() time.Time
}

// minRotateAfter is the least RotateAfter: clients stop using a key a minute
// before its end.
const minRotateAfter = time.Minute

// Enclave opens sealed requests and seals their answers, inside the enclave. It
// is safe for concurrent use. There should be one for as long as the enclave
// runs: another would not know what this one has opened.
type Enclave struct {
	opts      EnclaveOptions
	keys      *keyring
	attesting chan struct{}
}

// NewEnclave checks opts and makes the first key.
func NewEnclave(opts EnclaveOptions) (*Enclave, error) {
	if opts.Attester == nil && opts.Recipient == nil {
		return nil, errors.New("session: an Enclave needs an Attester or a Recipient")
	}
	if opts.KEM == 0 {
		opts.KEM = MLKEM768X25519
	}
	if _, _, ok := opts.KEM.sizes(); !ok {
		return nil, fmt.Errorf("session: %v is not supported", opts.KEM)
	}
	if opts.RotateAfter == 0 {
		opts.RotateAfter = defaultRotateAfter
	}
	if opts.MaxRequests == 0 {
		opts.MaxRequests = defaultMaxRequests
	}
	if opts.Window == 0 {
		opts.Window = defaultWindow
	}
	if opts.Pad == 0 {
		opts.Pad = defaultPad
	}
	if opts.RotateAfter < minRotateAfter || opts.MaxRequests < 1 || opts.Window < 0 || opts.Pad > maxPad {
		return nil, errors.New("session: RotateAfter is under a minute, MaxRequests or Window negative, or Pad over 4096")
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	e := &Enclave{
		opts: opts,
		keys: &keyring{
			kem: opts.KEM, info: bytes.Clone(opts.Info), rotateAfter: opts.RotateAfter,
			maxRequests: opts.MaxRequests, clock: opts.Clock,
		},
		attesting: make(chan struct{}, maxAttesting),
	}
	if _, err := e.keys.current(); err != nil {
		return nil, err
	}
	return e, nil
}

// Attest answers an attestation request: with the key configuration of now, and
// a document over the client's nonce and the configuration's digest.
//
// Errors: ErrMalformed, ErrClosed, ctx's, and ErrAttester around the attester's.
func (e *Enclave) Attest(ctx context.Context, request []byte) ([]byte, error) {
	nonce, err := parseAttestRequest(request)
	if err != nil {
		return nil, err
	}
	select {
	case e.attesting <- struct{}{}:
		defer func() { <-e.attesting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g, err := e.keys.current()
	if err != nil {
		return nil, err
	}
	document, err := e.attest(ctx, nonce[:], g.digest[:])
	if err != nil {
		return nil, err
	}
	return marshalAttestAnswer(g.config, document)
}

func (e *Enclave) attest(ctx context.Context, nonce, userData []byte) ([]byte, error) {
	var document []byte
	var err error
	if e.opts.Recipient != nil {
		document, err = e.opts.Recipient.Attest(ctx, nonce, userData)
	} else {
		document, err = e.opts.Attester.Attest(ctx, attest.Request{Nonce: nonce, UserData: userData})
	}
	if err == nil && len(document) == 0 {
		err = errors.New("no document")
	}
	if err != nil && ctx.Err() != nil {
		return nil, fmt.Errorf("session: attesting: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAttester, err)
	}
	return document, nil
}

// Request is a request that was opened.
type Request struct {
	// ID is the client's name for the request. No other request of that name
	// is opened.
	ID RequestID
	// IssuedAt is when the client made it, by its own clock.
	IssuedAt time.Time
	// Payload is what the client sealed. Clear it when done.
	Payload []byte

	export exporter
	digest [48]byte
	pad    int
}

// Format prints sizes only, whatever the verb.
func (r Request) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "request %v (%d bytes)", r.ID, len(r.Payload))
}

// MarshalJSON fails: a payload does not belong into JSON by accident.
func (r Request) MarshalJSON() ([]byte, error) { return nil, errNotMarshaled }

// LogValue shows sizes only.
func (r Request) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Open opens a sealed request, once. It keeps nothing of message.
//
// Errors: ErrMalformed, ErrKeyUnknown, ErrStale, ErrReplayed, ErrBusy, ErrOpen
// and ErrClosed. None of them may be answered under the request's own key: they
// go back in clear, as words, since whoever replays a request must not get a
// second answer under the key of the first.
func (e *Enclave) Open(message []byte) (*Request, error) {
	p, err := parseRequest(message)
	if err != nil {
		return nil, err
	}
	g, private, err := e.keys.find(p.key, p.id)
	if err != nil {
		return nil, err
	}
	if off := e.opts.Clock().Sub(p.issued); off > e.opts.Window || off < -e.opts.Window {
		return nil, ErrStale
	}
	payload, export, err := openRequest(p, private, g.digest)
	if err != nil {
		return nil, err
	}
	if err := e.keys.admit(g, p.id); err != nil {
		clear(payload)
		return nil, err
	}
	return &Request{
		ID: p.id, IssuedAt: p.issued, Payload: payload,
		export: export, digest: requestDigest(message), pad: max(0, e.opts.Pad),
	}, nil
}

// Format prints no key, whatever the verb.
func (e *Enclave) Format(s fmt.State, _ rune) { fmt.Fprintf(s, "enclave (%v)", e.opts.KEM) }

// Close forgets the keys: no request is opened any more. Answers under way can
// be finished.
func (e *Enclave) Close() { e.keys.close() }
