package terminal

import (
	"context"
	"errors"
	"net"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// The exit codes: see the package comment.
const (
	ExitOK          = 0
	ExitFailed      = 1
	ExitUsage       = 2
	ExitUntrusted   = 3
	ExitDenied      = 4
	ExitUnavailable = 5
	ExitInterrupted = 130
)

var (
	// ErrInterrupted means that the user interrupted.
	ErrInterrupted = errors.New("interrupted")
	// ErrUsage means that a flag or the question can never be right.
	ErrUsage = errors.New("usage")
)

// The errors behind each exit code, for errors.Is.
var (
	usageErrors = []error{
		ErrUsage, wire.ErrEmpty, wire.ErrNotUTF8, inference.ErrInvalidRequest,
	}
	untrustedErrors = []error{
		attest.ErrMalformed, attest.ErrUntrusted, attest.ErrExpired, attest.ErrSignature, attest.ErrPolicy,
		session.ErrConfig, session.ErrConfigExpired, session.ErrSegment, session.ErrOrder, session.ErrReceipt,
		chat.ErrModel, chat.ErrKey,
	}
	deniedErrors = []error{
		wire.ReasonKMSDenied, wire.ReasonCredentials, envelope.ErrDenied, chat.ErrCredentials,
	}
	unavailableErrors = []error{
		wire.ReasonParent, wire.ReasonCertificate, wire.ReasonUnavailable, wire.ReasonDeadline, wire.ReasonOverloaded, wire.ReasonRateLimited,
		wire.ReasonNotReady, wire.ReasonNSM, wire.ReasonKeyUnknown, wire.ReasonKMSUnavailable,
		session.ErrTruncated, inference.ErrOverloaded, context.DeadlineExceeded,
	}
)

// ExitCode is the exit code for what Once or Chat returned. Where several
// would do, distrust comes before denial and that before trying again.
func ExitCode(err error) int {
	var network *net.OpError
	var name *net.DNSError
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrInterrupted):
		return ExitInterrupted
	case isAny(err, untrustedErrors):
		return ExitUntrusted
	case isAny(err, usageErrors):
		return ExitUsage
	case isAny(err, deniedErrors):
		return ExitDenied
	case errors.Is(err, context.Canceled):
		return ExitInterrupted
	case isAny(err, unavailableErrors), errors.As(err, &network), errors.As(err, &name):
		return ExitUnavailable
	}
	return ExitFailed
}

func isAny(err error, targets []error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
