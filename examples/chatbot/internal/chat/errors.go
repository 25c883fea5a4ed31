package chat

import (
	"context"
	"errors"
	"fmt"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

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
		if reason := wire.ParseReason(e.Code); reason != wire.ReasonInternal {
			return reason
		}
		return fmt.Errorf("the parent answered HTTP %d: %w", e.Status, wire.ReasonInternal)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%w (%w)", wire.ReasonDeadline, context.DeadlineExceeded)
	case errors.Is(err, sessionrpc.ErrUnreachable):
		return fmt.Errorf("%w: %w", wire.ReasonParent, err)
	}
	return err
}
