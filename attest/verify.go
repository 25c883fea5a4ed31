package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/veraison/go-cose"
)

// Options says what Verify believes and expects.
type Options struct {
	// Roots are the trusted root certificates. nil means the AWS Nitro
	// Enclaves root G1 alone, which is what production wants. A document must
	// carry one of them, byte for byte, as the first of its chain. A nil
	// certificate among them trusts nothing.
	Roots []*x509.Certificate
	// Clock gives the time at which certificates must be valid. nil means
	// time.Now. An enclave's own clock is set by its parent: do not rely on
	// it where that matters.
	Clock func() time.Time
	// Cache remembers verified certificate chains between calls. A module's
	// documents share their chain for hours, and four of the five signatures
	// on the way are the chain's. nil means none.
	Cache *ChainCache
	// Policy is what the enclave must be. The zero Policy refuses every
	// document.
	Policy Policy
}

// Verify checks an attestation document, a COSE_Sign1 structure with or
// without its CBOR tag, and returns what it says.
//
// In order: the form of the document and of every field (ErrMalformed), the
// certificate chain to a trusted root (ErrUntrusted), its validity now
// (ErrExpired), the signature (ErrSignature), the policy (ErrPolicy). There is
// no Document beside an error. Verify does not keep or change doc, allocates a
// small multiple of its size, and is safe for concurrent use.
func Verify(doc []byte, opts Options) (*Document, error) {
	if len(doc) > maxDocument {
		return nil, malformed("%d bytes, at most %d are taken", len(doc), maxDocument)
	}
	// One copy, so that the Document does not change with the caller's buffer.
	s, err := parseSign1(bytes.Clone(doc))
	if err != nil {
		return nil, err
	}
	p, err := parsePayload(s.payload)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if opts.Clock != nil {
		now = opts.Clock()
	}
	roots := opts.Roots
	if roots == nil {
		roots = []*x509.Certificate{AWSRoot()}
	}
	chain, err := verifyChain(p, roots, now, opts.Cache)
	if err != nil {
		return nil, err
	}
	leaf := chain[len(chain)-1]
	if err := s.verify(leaf); err != nil {
		return nil, err
	}
	d := &Document{
		ModuleID:    p.moduleID,
		Timestamp:   time.UnixMilli(int64(p.timestamp)).UTC(),
		Digest:      p.digest,
		PCRs:        make(PCRs, 16),
		Certificate: leaf,
		CABundle:    chain[:len(chain)-1],
		PublicKey:   p.publicKey,
		UserData:    p.userData,
		Nonce:       p.nonce,
	}
	for i, value := range p.pcrs {
		if value != nil {
			d.PCRs[i] = value
		}
	}
	if err := opts.Policy.check(d, now); err != nil {
		return nil, err
	}
	return d, nil
}

// verify checks the signature over the Sig_structure (RFC 9052, section 4.4)
// with an empty external_aad.
func (s sign1) verify(leaf *x509.Certificate) error {
	m := cose.Sign1Message{
		Headers:   cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmES384}},
		Payload:   s.payload,
		Signature: s.signature,
	}
	v, err := cose.NewVerifier(cose.AlgorithmES384, leaf.PublicKey.(*ecdsa.PublicKey))
	if err != nil {
		return fmt.Errorf("%w: the leaf's key cannot be used", ErrSignature)
	}
	if err := m.Verify(nil, v); err != nil {
		return ErrSignature
	}
	return nil
}
