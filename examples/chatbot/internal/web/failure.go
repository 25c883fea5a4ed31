package web

import (
	"context"
	"errors"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// Failure says that the enclave is not trusted and why, in fixed words: the
// text of an inner error is never repeated. The page sends no question then.
type Failure struct {
	// Trusted is always false.
	Trusted bool        `json:"trusted"`
	Error   FailureInfo `json:"error"`
}

// FailureInfo is the reason.
type FailureInfo struct {
	// Code is a word from the table below, or a wire.Reason where the enclave
	// could not be asked.
	Code string `json:"code"`
	// Message says it for people.
	Message string `json:"message"`
	// Rule is the rule of the policy, where Code is "policy".
	Rule string `json:"rule,omitempty"`
	// PCR is the first register that differs from the closest alternative of
	// the policy, where Rule is "measurement".
	PCR *PCRInfo `json:"pcr,omitempty"`
}

// The codes that are not a wire.Reason.
const (
	codeMalformed  = "malformed_document"
	codeUntrusted  = "untrusted_chain"
	codeExpired    = "expired_certificate"
	codeSignature  = "bad_signature"
	codePolicy     = "policy"
	codeKey        = "key_not_attested"
	codeKeyExpired = "key_expired"
	codeModel      = "model_refused"
	codeKMSKey     = "key_refused"
	codeUnverified = "unverified"
)

var failures = []struct {
	err           error
	code, message string
}{
	{attest.ErrMalformed, codeMalformed, "what it gave is not an attestation document."},
	{attest.ErrUntrusted, codeUntrusted, "its attestation document is not signed under a root that you trust."},
	{attest.ErrExpired, codeExpired, "a certificate of its attestation document is expired or not yet valid. Is this computer's clock right?"},
	{attest.ErrSignature, codeSignature, "the signature of its attestation document is wrong."},
	{session.ErrConfig, codeKey, "its attestation document does not vouch for the key that it offers."},
	{session.ErrConfigExpired, codeKeyExpired, "the key that it offers has expired. Is this computer's clock right?"},
	{chat.ErrModel, codeModel, "it answers with another model than the one that you ask for."},
	{chat.ErrKey, codeKMSKey, "it takes questions under another KMS key than yours."},
}

// rules are the rules of attest.PolicyError.
var rules = map[string]string{
	"measurement": "its software is not the software that your policy names.",
	"debug":       "it runs in debug mode, where its console can be read from outside.",
	"nonce":       "its attestation document was not made for this question: it may be an old one.",
	"user data":   "its attestation document does not vouch for the key that it offers.",
	"public key":  "its attestation document does not vouch for the key that it offers.",
	"module id":   "it is another enclave than the one that your policy names.",
	"age":         "its attestation document is too old, or from the future. Is this computer's clock right?",
	"policy":      "your policy itself is not usable.",
}

// notTrusted begins every message.
const notTrusted = "The enclave is NOT trusted: "

func newFailure(err error) Failure {
	info := explain(err)
	info.Message = notTrusted + info.Message
	return Failure{Error: info}
}

func explain(err error) FailureInfo {
	var policy *attest.PolicyError
	if errors.As(err, &policy) {
		return explainPolicy(policy)
	}
	for _, f := range failures {
		if errors.Is(err, f.err) {
			return FailureInfo{Code: f.code, Message: f.message}
		}
	}
	var reason wire.Reason
	if errors.As(err, &reason) {
		reason = wire.ParseReason(string(reason))
		return FailureInfo{Code: string(reason), Message: "it could not be asked to prove itself (" + reason.Error() + ")."}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return FailureInfo{Code: string(wire.ReasonDeadline), Message: "it did not prove itself in time."}
	}
	return FailureInfo{Code: codeUnverified, Message: "it could not be reached or verified."}
}

func explainPolicy(e *attest.PolicyError) FailureInfo {
	message, ok := rules[e.Rule]
	if !ok {
		return FailureInfo{Code: codePolicy, Message: "your policy refuses it."}
	}
	info := FailureInfo{Code: codePolicy, Rule: e.Rule, Message: message}
	if e.Rule == "measurement" {
		pcr := comparePCR(e.PCR, e.Found, e.Expected)
		info.PCR = &pcr
	}
	return info
}
