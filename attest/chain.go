package attest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"time"
)

// verifyChain checks the path from a trusted root to the leaf, in exactly the
// order in which the document gives it: root first, then each certificate
// signed by the one before, then the leaf (AWS Nitro Enclaves user guide,
// "Verifying the root of trust"; RFC 5280, section 6). No path is searched
// for, so certificates that do not belong to it are refused, not skipped.
//
// What does not depend on roots and time may come from the cache.
func verifyChain(p *payload, roots []*x509.Certificate, at time.Time, cache *ChainCache) ([]*x509.Certificate, error) {
	trusted := false
	for _, root := range roots {
		trusted = trusted || root != nil && bytes.Equal(p.cabundle[0], root.Raw)
	}
	if !trusted {
		return nil, untrusted("the first certificate of cabundle is not a trusted root")
	}
	key := cache.key(p)
	chain := cache.get(key)
	if chain == nil {
		var err error
		if chain, err = parseChain(p.cabundle, p.certificate); err != nil {
			return nil, err
		}
	}
	if err := checkValidity(chain, at); err != nil {
		cache.drop(key)
		return nil, err
	}
	cache.put(key, chain)
	return chain, nil
}

// parseChain parses the certificates and checks that each may be where it is
// and is signed by the one before.
func parseChain(bundle [][]byte, leafDER []byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, 0, len(bundle)+1)
	for i, der := range append(bundle[:len(bundle):len(bundle)], leafDER) {
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, malformed("certificate %d of the chain cannot be parsed", i)
		}
		chain = append(chain, cert)
	}
	for i, cert := range chain {
		if err := checkForm(cert, i, len(chain)); err != nil {
			return nil, err
		}
	}
	for i, cert := range chain[1:] {
		parent := chain[i]
		if !bytes.Equal(cert.RawIssuer, parent.RawSubject) {
			return nil, untrusted("certificate %d is issued by another name than certificate %d has", i+1, i)
		}
		if err := parent.CheckSignature(cert.SignatureAlgorithm, cert.RawTBSCertificate, cert.Signature); err != nil {
			return nil, untrusted("certificate %d is not signed by certificate %d", i+1, i)
		}
	}
	return chain, nil
}

// checkValidity checks that all certificates are valid at a time.
func checkValidity(chain []*x509.Certificate, at time.Time) error {
	notBefore, notAfter := chain[0].NotBefore, chain[0].NotAfter
	for _, cert := range chain {
		if cert.NotBefore.After(notBefore) {
			notBefore = cert.NotBefore
		}
		if cert.NotAfter.Before(notAfter) {
			notAfter = cert.NotAfter
		}
	}
	if at.Before(notBefore) || at.After(notAfter) {
		return &ExpiredError{NotBefore: notBefore, NotAfter: notAfter, At: at}
	}
	return nil
}

// checkForm checks what certificate i of n may be by its own fields. Keys are
// checked before any signature is, so that no algorithm but ECDSA with P-384
// and SHA-384 ever runs on input.
func checkForm(cert *x509.Certificate, i, n int) error {
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P384() {
		return untrusted("certificate %d has no P-384 key", i)
	}
	if cert.SignatureAlgorithm != x509.ECDSAWithSHA384 {
		return untrusted("certificate %d is not signed with ECDSA and SHA-384", i)
	}
	if len(cert.UnhandledCriticalExtensions) > 0 {
		return untrusted("certificate %d has an unknown critical extension", i)
	}
	if i == n-1 { // the leaf, which signs documents
		if cert.IsCA {
			return untrusted("the leaf is a CA certificate")
		}
		if cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
			return untrusted("the leaf must not sign: no digitalSignature in its key usage")
		}
		return nil
	}
	if !cert.BasicConstraintsValid || !cert.IsCA {
		return untrusted("certificate %d is no CA certificate", i)
	}
	if cert.KeyUsage&x509.KeyUsageCertSign == 0 {
		return untrusted("certificate %d must not sign certificates: no keyCertSign in its key usage", i)
	}
	// MaxPathLen counts the CA certificates below, the leaf not included; -1
	// means that there is no limit (RFC 5280, section 4.2.1.9).
	if below := n - 2 - i; cert.MaxPathLen >= 0 && below > cert.MaxPathLen {
		return untrusted("certificate %d allows %d CA certificates below it, there are %d", i, cert.MaxPathLen, below)
	}
	return nil
}
