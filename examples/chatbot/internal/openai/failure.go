package openai

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// untrusted are the errors that mean that the enclave, or its answer, is not to
// be trusted, with what is told of each. They come before whatever else an
// error is.
var untrusted = []struct {
	err           error
	code, message string
}{
	{attest.ErrPolicy, "attestation_policy", "the enclave is genuine, but not one that this client's policy allows"},
	{attest.ErrUntrusted, "attestation_chain", "the enclave's attestation document does not come from a root that this client trusts"},
	{attest.ErrExpired, "attestation_expired", "a certificate of the enclave's attestation document is outside its validity period: is the clock right?"},
	{attest.ErrSignature, "attestation_signature", "the signature of the enclave's attestation document is wrong"},
	{attest.ErrMalformed, "attestation_malformed", "what the enclave sent is not an attestation document"},
	{session.ErrConfig, "key_not_attested", "the enclave does not attest the key that questions would be sealed to"},
	{chat.ErrModel, "model_refused", "the enclave attests to answer with another model than the one that this client asks for"},
	{chat.ErrKey, "key_refused", "the enclave attests to take questions under another KMS key than this client's"},
	{session.ErrSegment, "answer_not_authentic", "a part of the answer does not come from the enclave that was asked"},
	{session.ErrOrder, "answer_not_authentic", "the parts of the answer were put into another order on their way"},
	{session.ErrReceipt, "receipt_refused", "the receipt does not prove this answer"},
}

// reasons are errors that mean the same as a Reason of the parent or the
// enclave.
var reasons = []struct {
	err    error
	reason wire.Reason
}{
	{session.ErrConfigExpired, wire.ReasonKeyUnknown},
	{session.ErrKeyUnknown, wire.ReasonKeyUnknown},
	{session.ErrStale, wire.ReasonStale},
	{session.ErrReplayed, wire.ReasonReplayed},
	{session.ErrBusy, wire.ReasonOverloaded},
	{session.ErrClosed, wire.ReasonNotReady},
	{session.ErrOpen, wire.ReasonBadRequest},
	{session.ErrTooLarge, wire.ReasonTooLarge},
	{inference.ErrPromptTooLong, wire.ReasonPromptTooLong},
	{inference.ErrInvalidRequest, wire.ReasonQuestion},
	{inference.ErrOverloaded, wire.ReasonOverloaded},
	{inference.ErrClosed, wire.ReasonNotReady},
	{context.DeadlineExceeded, wire.ReasonDeadline},
	{context.Canceled, wire.ReasonNotReady},
}

// failure says what the client is told of err, which came from an Asker.
func failure(err error) *apiError {
	for _, u := range untrusted {
		if errors.Is(err, u.err) {
			return &apiError{status: http.StatusBadGateway, kind: typeUntrusted, code: u.code, message: u.message, final: true}
		}
	}
	var reason wire.Reason
	var remote *session.RemoteError
	var kms *envelope.KMSError
	switch {
	case errors.As(err, &reason):
		e := fromReason(wire.ParseReason(string(reason)))
		if fault := chat.CertificateFault(err); fault != "" {
			e.message += ": " + fault
		}
		return e
	case errors.As(err, &remote):
		return fromReason(wire.ParseReason(remote.Code))
	case errors.Is(err, session.ErrTruncated), errors.Is(err, errIncomplete):
		return &apiError{status: http.StatusBadGateway, kind: typeServer, code: "answer_incomplete", message: "the answer was cut off on its way", final: true}
	case errors.Is(err, session.ErrMalformed):
		return &apiError{status: http.StatusBadGateway, kind: typeServer, code: "answer_malformed", message: "what came back is not an answer of the documented form"}
	case errors.Is(err, wire.ErrEmpty):
		return badRequest("empty_question", "", wire.ErrEmpty.Error())
	case errors.Is(err, wire.ErrNotUTF8):
		return badRequest("invalid_utf8", "", wire.ErrNotUTF8.Error())
	case errors.Is(err, wire.ErrTooLong):
		return badRequest("question_too_long", "", wire.ErrTooLong.Error())
	case errors.Is(err, envelope.ErrDenied):
		return &apiError{status: http.StatusForbidden, kind: typePermission, code: "own_kms_access_denied", message: "KMS answered AccessDeniedException to this client: the key policy does not allow it to encrypt its question"}
	case errors.Is(err, chat.ErrCredentials):
		return &apiError{status: http.StatusForbidden, kind: typePermission, code: "own_credentials_refused", message: chat.ErrCredentials.Error()}
	case errors.As(err, &kms):
		return &apiError{status: http.StatusBadGateway, kind: typeServer, code: "own_kms_failed", message: "this client got no usable answer from KMS"}
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return fromReason(r.reason)
		}
	}
	return fromReason(wire.ReasonInternal)
}

// perhapsAsked are reasons with which an enclave may have the question, since
// only the parent says that it has not. OpenAI's clients ask again by themselves
// unless they are told not to, and another enclave might then open it too.
var perhapsAsked = []wire.Reason{
	wire.ReasonKeyUnknown, wire.ReasonUnavailable, wire.ReasonParent, wire.ReasonCertificate, wire.ReasonDeadline, wire.ReasonReplayed, wire.ReasonNSM, wire.ReasonInternal,
}

// fromReason translates a known reason. The question is the HTTP client's. All
// others that blame the request mean the sealed one, which this process made, or
// how it was configured: for the HTTP client they are a gateway's failure.
func fromReason(r wire.Reason) *apiError {
	e := &apiError{status: r.HTTPStatus(), kind: typeServer, code: string(r), message: r.Error()}
	switch {
	case r == wire.ReasonPromptTooLong:
		e.status, e.code = http.StatusBadRequest, "context_length_exceeded"
	case e.status == http.StatusBadRequest && r != wire.ReasonQuestion:
		e.status, e.final = http.StatusBadGateway, true
	case slices.Contains(perhapsAsked, r):
		e.final = true
	case r == wire.ReasonRateLimited:
		e.retryAfter = 5
	case e.status == http.StatusTooManyRequests, e.status == http.StatusServiceUnavailable:
		e.retryAfter = 1
	}
	switch e.status {
	case http.StatusForbidden:
		e.kind = typePermission
	case http.StatusTooManyRequests:
		e.kind = typeRate
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		e.kind = typeRequest
	}
	return e
}
