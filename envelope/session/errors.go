package session

import (
	"errors"
	"fmt"
)

// What a client finds wrong with an enclave's key. Errors about the attestation
// document itself are package attest's.
var (
	// ErrConfig: the key configuration is not the one that the document
	// attests, is not of the documented form, or has algorithms that the
	// client does not accept.
	ErrConfig = errors.New("session: the enclave does not attest this key configuration")
	// ErrConfigExpired: the key configuration is past its NotAfter.
	ErrConfigExpired = errors.New("session: the key configuration has expired")
)

// Why an enclave did not open a request, or gave no key for one. They reach a
// client through the parent, which can forge them: they say why there is no answer, and nothing
// about what the enclave did.
var (
	// ErrMalformed: the message is not of the documented form.
	ErrMalformed = errors.New("session: the message is not of the documented form")
	// ErrKeyUnknown: the enclave does not have the key that the request names.
	// It was restarted or replaced, or the key has expired.
	ErrKeyUnknown = errors.New("session: the enclave does not have this key")
	// ErrStale: the request was made too long ago, or in the future.
	ErrStale = errors.New("session: the request's time is out of the window")
	// ErrReplayed: the request was opened before.
	ErrReplayed = errors.New("session: the request was opened before")
	// ErrOpen: the request was not made for this key, or was changed.
	ErrOpen = errors.New("session: the request cannot be opened")
	// ErrBusy: the enclave opened as many requests as it can remember, and has
	// no room for another key at this moment.
	ErrBusy = errors.New("session: the enclave has no room for this request now")
	// ErrEnded: the answer has its last segment already.
	ErrEnded = errors.New("session: the answer has ended")
	// ErrClosed: the enclave is shutting down.
	ErrClosed = errors.New("session: closed")
	// ErrAttester: the enclave's security module gives no attestation document,
	// and so there is no key to seal a request to.
	ErrAttester = errors.New("session: the enclave's attester fails")
)

// What is wrong with an answer. Messages that were yielded before are
// authentic, but they are not the whole answer.
var (
	// ErrTruncated: the answer ended before its last segment.
	ErrTruncated = errors.New("session: the answer was cut off")
	// ErrSegment: a segment was forged or changed, or belongs to another
	// request.
	ErrSegment = errors.New("session: a segment of the answer is not authentic")
	// ErrOrder: a segment came out of order, or again.
	ErrOrder = errors.New("session: a segment of the answer is out of order")
)

var (
	// ErrTooLarge: a request, message or application info over its limit.
	ErrTooLarge = errors.New("session: too large")
	// ErrReceipt: a receipt is not of the documented form, or is not about
	// what it is held against.
	ErrReceipt = errors.New("session: the receipt does not prove this")
	// ErrData: Data is not of the documented form, or of a form that is not
	// accepted.
	ErrData = errors.New("session: the data is not of an accepted form")
)

// RemoteError is an error that the enclave's application put into the sealed
// answer in place of its end: the parent can neither read nor forge it. A
// handler returns one to choose what the client learns.
type RemoteError struct {
	// Code is a word that programs understand, at most 64 bytes.
	Code string
	// Message is for people, at most 1,024 bytes. It may be empty.
	Message string
}

func (e *RemoteError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("session: the enclave answered %s", e.Code)
	}
	return fmt.Sprintf("session: the enclave answered %s: %s", e.Code, e.Message)
}
