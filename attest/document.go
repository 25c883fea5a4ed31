package attest

import (
	"crypto/x509"
	"time"
)

// Document is a verified attestation document. Only Verify makes one, so
// holding a Document means that its signature and chain were good and that it
// met the policy, at the time of verification.
type Document struct {
	// ModuleID names the NSM: the instance id, "-enc" and an enclave id.
	ModuleID string
	// Timestamp is when the NSM made the document, by its own clock.
	Timestamp time.Time
	// Digest is the hash of the PCRs: always "SHA384".
	Digest string
	// PCRs are all that the document has; an absent one was not reported,
	// which is not the same as zero.
	PCRs PCRs
	// Certificate signed the document; it is valid for about 3 hours.
	Certificate *x509.Certificate
	// CABundle leads from the root, which is first, to Certificate's issuer.
	CABundle []*x509.Certificate
	// PublicKey, UserData and Nonce are what the enclave asked to be signed:
	// nil where it gave none, at most 1,024, 512 and 512 bytes. They are
	// arbitrary bytes until their consumer has parsed them.
	PublicKey, UserData, Nonce []byte
}

// Debug reports whether the enclave runs in debug mode, where its console is
// readable from outside: PCR0, PCR1 and PCR2 are present and all zero.
func (d *Document) Debug() bool {
	for i := range 3 {
		if !d.PCRs[i].IsZero() {
			return false
		}
	}
	return true
}
