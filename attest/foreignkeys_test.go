package attest_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"

	"github.com/nitroseal/nitroseal/attest"
)

// Self-signed leaves with keys of every other kind, behind the real root and
// with a signature of the right length: refused before any algorithm but ECDSA
// on P-384 runs. Verifiers have panicked on the first of them.
func TestForeignKeys(t *testing.T) {
	generate := func(c elliptic.Curve) crypto.Signer {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.Signer{
		"P-521": generate(elliptic.P521()), "P-256": generate(elliptic.P256()), "P-224": generate(elliptic.P224()),
		"P-384": generate(elliptic.P384()), "RSA": rsaKey, "Ed25519": edKey,
	} {
		for where := range 2 {
			now := time.Now()
			tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature}
			der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			bundle, leaf := [][]byte{attest.AWSRoot().Raw}, der
			if where == 1 { // in the middle, in front of a copy of the root
				bundle, leaf = append(bundle, der), attest.AWSRoot().Raw
			}
			payload, err := cbor.Marshal(map[string]any{
				"module_id": "i-0-enc0", "digest": "SHA384", "timestamp": uint64(now.UnixMilli()),
				"pcrs": map[int][]byte{0: attest.PCR4("x")}, "certificate": leaf, "cabundle": bundle,
			})
			if err != nil {
				t.Fatal(err)
			}
			doc, err := cbor.Marshal([]any{[]byte{0xa1, 0x01, 0x38, 0x22}, map[int]int{}, payload, make([]byte, 96)})
			if err != nil {
				t.Fatal(err)
			}
			if d, err := attest.Verify(doc, attest.Options{Policy: attest.Policy{AnyMeasurement: true}}); d != nil || !errors.Is(err, attest.ErrUntrusted) {
				t.Errorf("%s, place %d: %v", name, where, err)
			}
		}
	}
}
