package attest

import (
	"errors"
	"fmt"
)

// Each error of Verify is one of these, wrapped with detail; use errors.Is.
// The first that applies is reported, in this order.
var (
	// ErrMalformed: the bytes are not an attestation document of the
	// documented form.
	ErrMalformed = errors.New("attest: malformed document")
	// ErrUntrusted: the certificate chain does not lead from a trusted root to
	// a P-384 key that may sign documents.
	ErrUntrusted = errors.New("attest: untrusted certificate chain")
	// ErrExpired: a certificate of the chain is expired or not yet valid at
	// the time of verification.
	ErrExpired = errors.New("attest: certificate outside its validity period")
	// ErrSignature: the signature over the document is wrong.
	ErrSignature = errors.New("attest: bad signature")
	// ErrPolicy: the document is genuine and does not meet the policy. The
	// error is a *PolicyError.
	ErrPolicy = errors.New("attest: refused by policy")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func untrusted(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUntrusted, fmt.Sprintf(format, args...))
}
