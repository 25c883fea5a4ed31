package attest

import (
	"errors"
	"fmt"
	"time"
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
	// the time of verification. The error is an *ExpiredError.
	ErrExpired = errors.New("attest: certificate outside its validity period")
	// ErrSignature: the signature over the document is wrong.
	ErrSignature = errors.New("attest: bad signature")
	// ErrPolicy: the document is genuine and does not meet the policy. The
	// error is a *PolicyError.
	ErrPolicy = errors.New("attest: refused by policy")
)

// ExpiredError says when the certificate chain of a document is valid: from the
// latest NotBefore to the earliest NotAfter of its certificates, in practice
// the three hours of the leaf. errors.Is(err, ErrExpired) holds for it. The
// signature of the document itself was not looked at.
type ExpiredError struct {
	NotBefore, NotAfter time.Time
	// At is the time of verification.
	At time.Time
}

func (e *ExpiredError) Error() string {
	what := "expired"
	if e.At.Before(e.NotBefore) {
		what = "not yet valid"
	}
	return fmt.Sprintf("%v: %s at %s, valid from %s to %s", ErrExpired, what,
		e.At.UTC().Format(time.RFC3339), e.NotBefore.UTC().Format(time.RFC3339), e.NotAfter.UTC().Format(time.RFC3339))
}

// Unwrap returns ErrExpired.
func (e *ExpiredError) Unwrap() error { return ErrExpired }

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

func untrusted(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUntrusted, fmt.Sprintf(format, args...))
}
