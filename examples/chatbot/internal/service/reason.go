package service

import (
	"context"
	"errors"

	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// reasonOf chooses the fixed word under which err may be told outside.
func reasonOf(ctx context.Context, err error) wire.Reason {
	if reason, ok := errors.AsType[wire.Reason](err); ok {
		return reason
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.ReasonDeadline
	case attesterFailed(err):
		return wire.ReasonNSM
	case errors.Is(err, envelope.ErrDenied):
		return wire.ReasonKMSDenied
	case errors.Is(err, session.ErrData), errors.Is(err, envelope.ErrNotDelegated):
		return wire.ReasonForm
	case errors.Is(err, envelope.ErrTooLarge), errors.Is(err, envelope.ErrEmpty),
		errors.Is(err, envelope.ErrStream), errors.Is(err, envelope.ErrContextMismatch), errors.Is(err, envelope.ErrKeyMismatch):
		return wire.ReasonCiphertext
	case errors.Is(err, inference.ErrClosed):
		return wire.ReasonUnavailable
	case errors.Is(err, inference.ErrOverloaded):
		return wire.ReasonOverloaded
	case errors.Is(err, inference.ErrPromptTooLong):
		return wire.ReasonPromptTooLong
	case errors.Is(err, inference.ErrInvalidRequest):
		return wire.ReasonQuestion
	case errors.Is(err, envelope.ErrOpen), errors.Is(err, envelope.ErrNotAttested):
		return wire.ReasonKMSUnavailable
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException",
			"IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId":
			return wire.ReasonCredentials
		case "InvalidCiphertextException", "IncorrectKeyException":
			return wire.ReasonCiphertext
		}
		return wire.ReasonKMSUnavailable
	}
	if _, ok := errors.AsType[*envelope.KMSError](err); ok {
		return wire.ReasonKMSUnavailable
	}
	return wire.ReasonInternal
}

// attesterFailed reports whether the security module gave no document: for KMS,
// which comes as the module's own error, or for a receipt.
func attesterFailed(err error) bool {
	_, own := errors.AsType[*attest.OpError](err)
	return own || errors.Is(err, session.ErrAttester)
}
