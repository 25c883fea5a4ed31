package attest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitroseal/nitroseal/attest"
)

// chainSpec is a chain of which one thing is wrong.
type chainSpec struct {
	leafKey      func(t *testing.T) crypto.Signer // nil: P-384
	intermediate func(*x509.Certificate)
	leaf         func(*x509.Certificate)
}

// document makes a document under a root of its own. Everything in it is
// properly signed, whatever the specification says.
func (s chainSpec) document(t *testing.T) (doc []byte, root *x509.Certificate) {
	t.Helper()
	now := time.Now()
	newKey := func() crypto.Signer {
		k, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	issue := func(name string, parent *x509.Certificate, parentKey, key crypto.Signer, edit func(*x509.Certificate)) *x509.Certificate {
		tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
			BasicConstraintsValid: true, SignatureAlgorithm: x509.ECDSAWithSHA384}
		if edit != nil {
			edit(tmpl)
		}
		if parent == nil {
			parent = tmpl
		}
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, key.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	ca := func(c *x509.Certificate) { c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign }
	rootKey, interKey, leafKey := newKey(), newKey(), newKey()
	if s.leafKey != nil {
		leafKey = s.leafKey(t)
	}
	root = issue("root", nil, rootKey, rootKey, ca)
	inter := issue("intermediate", root, rootKey, interKey, func(c *x509.Certificate) {
		ca(c)
		if s.intermediate != nil {
			s.intermediate(c)
		}
	})
	leaf := issue("leaf", inter, interKey, leafKey, func(c *x509.Certificate) {
		c.KeyUsage = x509.KeyUsageDigitalSignature
		if s.leaf != nil {
			s.leaf(c)
		}
	})
	payload, err := cbor.Marshal(map[string]any{
		"module_id": "i-0-enc0", "digest": "SHA384", "timestamp": uint64(now.UnixMilli()), "pcrs": map[int][]byte{0: attest.PCR4("x")},
		"certificate": leaf.Raw, "cabundle": [][]byte{root.Raw, inter.Raw},
	})
	if err != nil {
		t.Fatal(err)
	}
	protected := []byte{0xa1, 0x01, 0x38, 0x22}
	toSign, err := cbor.Marshal([]any{"Signature1", protected, []byte{}, payload})
	if err != nil {
		t.Fatal(err)
	}
	digest := sha512.Sum384(toSign)
	raw := make([]byte, 96)
	if k, ok := leafKey.(*ecdsa.PrivateKey); ok && k.Curve.Params().BitSize <= 384 {
		der, err := k.Sign(rand.Reader, digest[:], crypto.SHA384)
		if err != nil {
			t.Fatal(err)
		}
		var rs struct{ R, S *big.Int }
		if _, err := asn1.Unmarshal(der, &rs); err != nil {
			t.Fatal(err)
		}
		rs.R.FillBytes(raw[:48])
		rs.S.FillBytes(raw[48:])
	}
	if doc, err = cbor.Marshal([]any{protected, map[int]int{}, payload, raw}); err != nil {
		t.Fatal(err)
	}
	return doc, root
}

// Each rule for certificates on a chain where nothing but that is wrong.
func TestChainRules(t *testing.T) {
	curve := func(c elliptic.Curve) func(*testing.T) crypto.Signer {
		return func(t *testing.T) crypto.Signer {
			k, err := ecdsa.GenerateKey(c, rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}
	}
	for _, tt := range []struct {
		name string
		spec chainSpec
		want error
	}{
		{"good", chainSpec{}, nil},
		{"P-256 leaf", chainSpec{leafKey: curve(elliptic.P256())}, attest.ErrUntrusted},
		{"P-521 leaf", chainSpec{leafKey: curve(elliptic.P521())}, attest.ErrUntrusted},
		{"RSA leaf", chainSpec{leafKey: func(t *testing.T) crypto.Signer {
			k, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			return k
		}}, attest.ErrUntrusted},
		{"leaf is a CA that may sign", chainSpec{leaf: func(c *x509.Certificate) { c.IsCA = true }}, attest.ErrUntrusted},
		{"leaf may not sign", chainSpec{leaf: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyAgreement }}, attest.ErrUntrusted},
		{"leaf signed with SHA-256", chainSpec{leaf: func(c *x509.Certificate) { c.SignatureAlgorithm = x509.ECDSAWithSHA256 }}, attest.ErrUntrusted},
		{"intermediate is no CA", chainSpec{intermediate: func(c *x509.Certificate) { c.IsCA = false }}, attest.ErrUntrusted},
		{"intermediate without constraints", chainSpec{intermediate: func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = false, false }}, attest.ErrUntrusted},
		{"intermediate may not sign", chainSpec{intermediate: func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }}, attest.ErrUntrusted},
		{"intermediate expired", chainSpec{intermediate: func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }}, attest.ErrExpired},
		{"leaf not yet valid", chainSpec{leaf: func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }}, attest.ErrExpired},
		{"critical extension", chainSpec{intermediate: func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		}}, attest.ErrUntrusted},
	} {
		doc, root := tt.spec.document(t)
		d, err := attest.Verify(doc, attest.Options{Roots: []*x509.Certificate{root}, Policy: attest.Policy{AnyMeasurement: true}})
		if !errors.Is(err, tt.want) || (d == nil) == (err == nil) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
