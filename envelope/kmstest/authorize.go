package kmstest

import (
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"

	"github.com/nitroseal/nitroseal/attest"
)

// authorize evaluates the key's policy for the call.
func (s *Server) authorize(c *call, k *key, ec map[string]string) error {
	return s.authorizeAction(c, c.op, k, ec)
}

// authorizeAction is authorize for an action of another name than the
// operation, of which ReEncrypt needs two.
func (s *Server) authorizeAction(c *call, action string, k *key, ec map[string]string) error {
	keys := map[string][]string{
		keyCaller:  {c.principal.ARN},
		keyAccount: {accountOf(c.principal.ARN)},
	}
	if len(ec) > 0 {
		keys[keyContextKeys] = slices.Sorted(maps.Keys(ec))
		for name, value := range ec {
			// Condition keys have no case, names of a context do: where two
			// become one, no answer would be right.
			if keys[keyContext+lower(name)] != nil {
				return apiError{"ValidationException", "the encryption context has two names that differ in case only"}
			}
			keys[keyContext+lower(name)] = []string{value}
		}
	}
	if c.document != nil {
		for i, v := range c.document.PCRs {
			keys[fmt.Sprintf("%s%d", keyPCR, i)] = []string{v.String()}
		}
		if v := c.document.PCRs[0]; v != nil {
			keys[keyImage] = []string{v.String()}
		}
	}
	s.mu.RLock()
	p := k.policy
	s.mu.RUnlock()
	if !p.allows(&request{principal: c.principal.ARN, action: "kms:" + action, resource: k.arn, keys: keys}) {
		return apiError{"AccessDeniedException", fmt.Sprintf("User: %s is not authorized to perform: kms:%s on resource: %s because the key policy does not allow it", c.principal.ARN, action, k.arn)}
	}
	return nil
}

// recipientInfo is where an attested call wants its answer sent.
type recipientInfo struct {
	KeyEncryptionAlgorithm string
	AttestationDocument    []byte
}

// recipientKey is a verified recipient's.
type recipientKey struct {
	public *rsa.PublicKey
	spki   []byte
}

// verify checks the attestation document, notes it for the key policy and
// returns the key in it. As in AWS, genuineness is checked here and the
// measurements by the key policy; a debug-mode enclave's are all zero.
func (s *Server) verify(c *call, r *recipientInfo) (*recipientKey, error) {
	if r == nil {
		return nil, nil
	}
	if r.KeyEncryptionAlgorithm != "RSAES_OAEP_SHA_256" {
		return nil, apiError{"ValidationException", "KeyEncryptionAlgorithm must be RSAES_OAEP_SHA_256"}
	}
	d, err := attest.Verify(r.AttestationDocument, attest.Options{
		Cache:  s.chains,
		Roots:  s.opts.AttestationRoots,
		Clock:  s.opts.Clock,
		Policy: attest.Policy{AnyMeasurement: true, AllowDebug: true, MaxAge: s.opts.MaxAttestationAge},
	})
	if err != nil {
		return nil, apiError{"ValidationException", "the attestation document is refused: " + err.Error()}
	}
	parsed, err := x509.ParsePKIXPublicKey(d.PublicKey)
	public, ok := parsed.(*rsa.PublicKey)
	if err != nil || !ok {
		return nil, apiError{"ValidationException", "the attestation document has no RSA public key"}
	}
	if bits := public.N.BitLen(); bits != 2048 && bits != 3072 && bits != 4096 {
		return nil, apiError{"ValidationException", "the RSA key in the attestation document is not of 2048, 3072 or 4096 bits"}
	}
	c.document = d
	return &recipientKey{public, d.PublicKey}, nil
}

// answer returns the plaintext for a caller without a recipient, or else
// encrypted to it. One of the two is nil.
func answer(r *recipientKey, plaintext []byte) (clear, forRecipient []byte, err error) {
	if r == nil {
		return plaintext, nil, nil
	}
	forRecipient, err = sealForRecipient(r.public, r.spki, plaintext)
	return nil, forRecipient, err
}
