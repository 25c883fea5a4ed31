package terminal

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// advice says what to do about each reason, whose own text says what happened.
var advice = map[wire.Reason]string{
	wire.ReasonBadRequest:     "Client and parent are likely of different versions: use the same on both.",
	wire.ReasonTooLarge:       "Ask a shorter question, or begin a new conversation.",
	wire.ReasonParent:         "Does the parent run, is its URL right, and does a firewall let this machine reach it?",
	wire.ReasonCertificate:    "Check the parent's URL, this machine's clock, and which authorities it trusts; else the parent needs another certificate.",
	wire.ReasonUnavailable:    "Try again in a moment. If it stays so: does the enclave run, and does the parent name its address?",
	wire.ReasonDeadline:       "Try again, allow more time with -timeout, or ask for a shorter answer with -max-tokens.",
	wire.ReasonOverloaded:     "Try again in a moment.",
	wire.ReasonRateLimited:    "Wait, then ask less often, or have the parent's limit raised.",
	wire.ReasonNotReady:       "Try again in a moment: loading a large model takes minutes.",
	wire.ReasonNSM:            "Try again. If it stays so, the enclave has to be started anew, by whoever runs it.",
	wire.ReasonKeyUnknown:     "Ask again: the client then verifies the enclave anew and uses its new key.",
	wire.ReasonReplayed:       "Ask again. If you did not repeat the request yourself, something on the way did: the enclave answered only once.",
	wire.ReasonStale:          "Set this machine's clock, and ask again. If it is right, the parent gives its enclave a wrong one.",
	wire.ReasonForm:           "Use the way of asking that the enclave was set up for: with its KMS key, or without KMS where it allows that.",
	wire.ReasonKMSDenied:      "Compare the PCRs in the key policy with those of the enclave (/attestation or -v shows them), and see whether it allows the role that asks. Until they agree, nobody's questions are opened.",
	wire.ReasonCredentials:    "Get fresh credentials: temporary ones expire within hours.",
	wire.ReasonCiphertext:     "Give the -key-arn that the enclave is meant for. If it is that, something on the way changed the request.",
	wire.ReasonKMSUnavailable: "Try again. If it stays so: does the parent's proxy let the enclave reach KMS in its region?",
	wire.ReasonQuestion:       "Client and enclave are likely of different versions: use the same on both.",
	wire.ReasonPromptTooLong:  "Ask a shorter question, or begin a new conversation.",
	wire.ReasonInternal:       "Try again. If it stays so, the logs of parent and enclave tell more; they hold no text of questions.",
}

// Explain says in plain words what err means and what to do next, in a line
// each. The text is not made harmless: an error may quote others.
func Explain(err error) string {
	what, next := explain(err)
	if next == "" {
		return what
	}
	return what + "\n  " + next
}

// reason is the wire.Reason that err is, or empty.
func reason(err error) wire.Reason {
	var r wire.Reason
	errors.As(err, &r)
	return r
}

func explain(err error) (what, next string) {
	var network *net.OpError
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	r := reason(err)
	switch {
	case err == nil:
		return "", ""
	case errors.Is(err, ErrInterrupted):
		return "interrupted", ""
	case isAny(err, untrustedErrors):
		return explainUntrusted(err)
	case errors.Is(err, context.Canceled) && r == "":
		return "interrupted", ""
	case r == wire.ReasonParent && errors.As(err, &network):
		return r.Error() + ": " + network.Error(), advice[r]
	case chat.CertificateFault(err) != "":
		return r.Error() + ": " + chat.CertificateFault(err), advice[r]
	case r != "":
		return r.Error(), advice[wire.ParseReason(string(r))]
	case errors.Is(err, ErrUsage):
		return strings.TrimPrefix(err.Error(), ErrUsage.Error()+": "), "-h tells the flags, /help the commands."
	case isAny(err, usageErrors):
		return err.Error(), "Change the question or the flags: as it is, it can never be answered."
	case errors.Is(err, wire.ErrTooLong), errors.Is(err, inference.ErrPromptTooLong):
		return err.Error(), advice[wire.ReasonPromptTooLong]
	case errors.Is(err, chat.ErrCredentials):
		return err.Error(), advice[wire.ReasonCredentials]
	case errors.Is(err, envelope.ErrDenied):
		return "KMS answered AccessDeniedException to this client: the key policy does not allow these credentials to encrypt questions or to open answers",
			"Check which role the credentials belong to, and whether the key policy names it for clients."
	case errors.Is(err, context.DeadlineExceeded):
		return wire.ReasonDeadline.Error(), advice[wire.ReasonDeadline]
	case errors.Is(err, inference.ErrOverloaded):
		return wire.ReasonOverloaded.Error(), advice[wire.ReasonOverloaded]
	case errors.Is(err, errUnfinished), errors.Is(err, session.ErrTruncated):
		return err.Error(), "Do not rely on it: something on the way cut it, or the enclave stopped. Ask again."
	case errors.As(err, &certificate): // the parent's is a reason of its own
		return "the TLS certificate of KMS is not accepted",
			"Check the endpoint of KMS, this machine's clock, and which authorities it trusts."
	case errors.As(err, &network), errors.As(err, &name):
		return err.Error(), advice[wire.ReasonParent]
	}
	return err.Error(), ""
}

// explainUntrusted is for an enclave that is not what it should be. Nothing
// was sent to it.
func explainUntrusted(err error) (what, next string) {
	var policy *attest.PolicyError
	var expired *attest.ExpiredError
	switch {
	case errors.As(err, &policy):
		return explainPolicy(policy)
	case errors.As(err, &expired):
		return fmt.Sprintf("the enclave's attestation is valid from %s to %s, and this machine's clock says %s: the enclave is NOT trusted",
				utc(expired.NotBefore), utc(expired.NotAfter), utc(expired.At)),
			"Set this machine's clock if it is wrong. If it is right, somebody passes an old attestation on: see what the parent does."
	case errors.Is(err, attest.ErrExpired):
		return err.Error() + ": the enclave is NOT trusted", "Set this machine's clock if it is wrong."
	case errors.Is(err, attest.ErrPolicy):
		return err.Error() + ": the enclave is NOT trusted", "Check the policy, and which enclave the parent runs."
	case errors.Is(err, attest.ErrUntrusted):
		return "the attestation does not come from a Nitro enclave of AWS, nor from another root that you named: the enclave is NOT trusted",
			"If you expected a simulator, name its root. If not, do not use this parent: it shows a forgery."
	case errors.Is(err, chat.ErrModel), errors.Is(err, chat.ErrKey):
		return err.Error(), "Nothing was sent. Check -expect-model and -key-arn, and which enclave the parent runs."
	case errors.Is(err, attest.ErrSignature), errors.Is(err, attest.ErrMalformed):
		return err.Error() + ": the enclave is NOT trusted",
			"The attestation was damaged or forged on the way. If it stays so, do not use this parent."
	}
	return err.Error() + ": the enclave, or its answer, is NOT trusted",
		"Do not rely on anything from it. If it stays so, do not use this parent."
}

func explainPolicy(e *attest.PolicyError) (what, next string) {
	if e.Rule != "measurement" || e.PCR < 0 {
		next = "Check the policy, and which enclave the parent runs."
		if e.Rule == "debug" {
			next = "The enclave runs in debug mode, where its console can be read from outside. Have it started without --debug-mode."
		}
		return e.Error() + ": the enclave is NOT trusted", next
	}
	found := "missing"
	if e.Found != nil {
		found = e.Found.String()
	}
	closest := ""
	if e.Measurement != "" {
		closest = fmt.Sprintf(" (%q, the closest that it accepts)", e.Measurement)
	}
	what = fmt.Sprintf("this is a genuine enclave, but not one that the policy accepts: the enclave is NOT trusted\n  PCR%d, %s\n  expected  %s%s\n  found     %s",
		e.PCR, pcrMeaning(e.PCR), e.Expected, closest, found)
	return what, "If a new build was rolled out, get its measurements from those who built it, not from the parent, and add them to the policy. If not, do not use this enclave."
}

// utc is a time as people read it.
func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
