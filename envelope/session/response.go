package session

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"unicode/utf8"
)

// Limits of a RemoteError, in bytes.
const (
	maxErrorCode = 64
	maxErrorText = 1024
)

// Response seals the answer to one request, a message at a time. It is safe for
// concurrent use, though messages then come in any order.
type Response struct {
	mu     sync.Mutex
	seq    *sequence
	emit   func(segment []byte) error
	nonce  []byte // what precedes the first segment; nil when it was sent
	pad    int
	failed error
}

// Respond begins the answer. emit sends one segment on its way; it must not
// keep the slice. A request has one answer.
func (r *Request) Respond(emit func(segment []byte) error) (*Response, error) {
	if r.export == nil {
		return nil, errors.New("session: the request has an answer already")
	}
	if emit == nil {
		return nil, errors.New("session: nothing to send the answer with")
	}
	var nonce [responseNonce]byte
	rand.Read(nonce[:])
	return r.respond(emit, nonce)
}

func (r *Request) respond(emit func([]byte) error, nonce [responseNonce]byte) (*Response, error) {
	seq, err := newSequence(r.export, r.digest, nonce[:])
	if err != nil {
		return nil, err
	}
	r.export = nil
	return &Response{seq: seq, emit: emit, nonce: append([]byte(magicResponse), nonce[:]...), pad: r.pad}, nil
}

// Send seals and sends one message, at most MaxMessage bytes. The client gets
// messages as they were sent, one by one. After an error no more can be sent.
func (r *Response) Send(message []byte) error { return r.send(kindMessage, message, false) }

// Finish sends a last message, which tells the client that the answer is whole.
func (r *Response) Finish(message []byte) error { return r.send(kindMessage, message, true) }

// End ends the answer after the messages that were sent.
func (r *Response) End() error { return r.send(kindEnd, nil, true) }

// Fail ends the answer with an error, which the client gets as a *RemoteError.
// Code and text longer than 64 and 1,024 bytes are cut.
func (r *Response) Fail(e *RemoteError) error {
	if e == nil {
		return errors.New("session: Fail needs an error")
	}
	raw, err := encode(wireError{cut(e.Code, maxErrorCode), cut(e.Message, maxErrorText)})
	if err != nil {
		return err
	}
	return r.send(kindError, raw, true)
}

// wireError is a RemoteError in CBOR (FORMAT.md).
type wireError struct {
	Code string `cbor:"1,keyasint"`
	Text string `cbor:"2,keyasint"`
}

func parseError(raw []byte) (*RemoteError, error) {
	var w wireError
	malformed := fmt.Errorf("%w: not of the documented form", ErrSegment)
	if decMode.Unmarshal(raw, &w) != nil || len(w.Code) > maxErrorCode || len(w.Text) > maxErrorText {
		return nil, malformed
	}
	if again, err := encode(w); err != nil || !bytes.Equal(again, raw) {
		return nil, malformed
	}
	return &RemoteError{w.Code, w.Text}, nil
}

func cut(s string, n int) string {
	if len(s) > n {
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	if !utf8.ValidString(s) {
		return ""
	}
	return s
}

func (r *Response) send(kind byte, content []byte, last bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed != nil {
		return r.failed
	}
	segment, err := r.seq.seal(r.nonce, kind, content, last, r.pad)
	if errors.Is(err, ErrTooLarge) {
		return err // nothing was sent: something shorter can be
	}
	if err == nil {
		r.nonce = nil
		err = r.emit(segment)
	}
	r.failed = err
	return err
}

// Ended reports whether the answer has ended, or cannot go on.
func (r *Response) Ended() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq.ended || r.failed != nil
}

// Format prints no key, whatever the verb.
func (r *Response) Format(s fmt.State, _ rune) { fmt.Fprint(s, "answer of an enclave") }

// answer reads the segments of one answer on the client's side.
type answer struct {
	export exporter
	digest [48]byte
	seq    *sequence
}

// open opens the next segment as it travelled. The answer to one request has
// its header before the first one.
func (a *answer) open(segment []byte) (kind byte, content []byte, last bool, err error) {
	if a.seq == nil {
		if len(segment) < responseHeader || string(segment[:magicSize]) != magicResponse {
			return 0, nil, false, fmt.Errorf("%w: not of the documented form", ErrSegment)
		}
		if a.seq, err = newSequence(a.export, a.digest, segment[magicSize:responseHeader]); err != nil {
			return 0, nil, false, err
		}
		segment = segment[responseHeader:]
	}
	return a.seq.open(segment)
}
