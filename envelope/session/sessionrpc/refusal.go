package sessionrpc

import (
	"errors"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// The vsockrpc methods of an enclave.
const (
	// MethodAttest answers one attestation request.
	MethodAttest = "nitroseal.session.v1.Attest"
	// MethodAsk takes one sealed request and answers with a stream of
	// segments.
	MethodAsk = "nitroseal.session.v1.Ask"
)

// refusals are the words for why an enclave did not open a request, or gave no
// key for one.
var refusals = []struct {
	word string
	err  error
	code vsockrpc.Code
}{
	{"bad_request", session.ErrMalformed, vsockrpc.InvalidArgument},
	{"key_unknown", session.ErrKeyUnknown, vsockrpc.FailedPrecondition},
	{"stale_request", session.ErrStale, vsockrpc.FailedPrecondition},
	{"replayed", session.ErrReplayed, vsockrpc.AlreadyExists},
	{"not_opened", session.ErrOpen, vsockrpc.InvalidArgument},
	{"overloaded", session.ErrBusy, vsockrpc.ResourceExhausted},
	{"enclave_unavailable", session.ErrClosed, vsockrpc.Unavailable},
	{"nsm_unavailable", session.ErrAttester, vsockrpc.Internal},
}

// refuse is the error under which an enclave's server reports err, without its
// text.
func refuse(err error) error {
	for _, r := range refusals {
		if errors.Is(err, r.err) {
			return &vsockrpc.Error{Code: r.code, Message: r.word}
		}
	}
	return &vsockrpc.Error{Code: vsockrpc.Internal, Message: "internal"}
}

// refusalOf is the session error that a word stands for, or nil.
func refusalOf(word string) error {
	for _, r := range refusals {
		if r.word == word {
			return r.err
		}
	}
	return nil
}

// refused is an error of the transport that names one of session's.
type refused struct {
	err   error // of the transport
	named error // of session
}

func (r *refused) Error() string   { return r.named.Error() }
func (r *refused) Unwrap() []error { return []error{r.named, r.err} }

// withRefusal makes errors.Is find session's error in one of a call.
func withRefusal(err error) error {
	if e, ok := errors.AsType[*vsockrpc.Error](err); ok {
		if named := refusalOf(e.Message); named != nil {
			return &refused{err, named}
		}
	}
	return err
}
