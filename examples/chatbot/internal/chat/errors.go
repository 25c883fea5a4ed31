package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// ErrModel means that the enclave attests to answer with another model.
var ErrModel = errors.New("the enclave answers with another model than the one that is asked for")

// ErrKey means that the enclave attests to take questions under another KMS
// key, or under none.
var ErrKey = errors.New("the enclave takes questions under another KMS key")

// ErrCredentials means that this client's own AWS credentials do not serve, or
// no more.
var ErrCredentials = errors.New("the client's own AWS credentials are unknown, expired or wrong")

// heard are the reasons of which a parent may speak: what it is itself, and what
// an enclave says that has not opened a question. All others an enclave seals.
var heard = []wire.Reason{
	wire.ReasonBadRequest, wire.ReasonTooLarge, wire.ReasonParent, wire.ReasonUnavailable, wire.ReasonDeadline, wire.ReasonOverloaded,
	wire.ReasonRateLimited, wire.ReasonNotReady, wire.ReasonNSM, wire.ReasonKeyUnknown, wire.ReasonReplayed, wire.ReasonStale,
}

// translate makes errors.Is find a wire.Reason in what parent or enclave
// refused. What is wrong with the enclave or its answer stays as it is.
func translate(ctx context.Context, err error) error {
	// In the sealed answer, and so the enclave's own word.
	if remote, ok := errors.AsType[*session.RemoteError](err); ok {
		return wire.ParseReason(remote.Code)
	}
	if e, ok := errors.AsType[*sessionrpc.HTTPError](err); ok {
		// Why an enclave did not open a request has the same words as reasons
		// have, but for one.
		if errors.Is(err, session.ErrOpen) {
			return wire.ReasonBadRequest
		}
		if reason := wire.Reason(e.Code); slices.Contains(heard, reason) {
			return reason
		}
		return fmt.Errorf("the parent answered HTTP %d: %w", e.Status, wire.ReasonInternal)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case refusedCredentials(err):
		return fmt.Errorf("%w: %w", ErrCredentials, err)
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w (%w)", wire.ReasonDeadline, context.DeadlineExceeded)
	case ofParent(err):
		return fmt.Errorf("%w: %w", wire.ReasonCertificate, err)
	case errors.Is(err, sessionrpc.ErrUnreachable):
		return fmt.Errorf("%w: %w", wire.ReasonParent, err)
	}
	return err
}

// refusedCredentials reports whether KMS refused the credentials of a call of
// this client's own.
func refusedCredentials(err error) bool {
	if _, ok := errors.AsType[*envelope.KMSError](err); !ok {
		return false
	}
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && slices.Contains([]string{
		"ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException",
		"IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId",
	}, api.ErrorCode())
}
