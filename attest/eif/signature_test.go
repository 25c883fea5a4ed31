package eif

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/nitroseal/nitroseal/attest"
)

func certificate(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// sign makes a COSE_Sign1 over any payload.
func sign(t *testing.T, alg cose.Algorithm, key crypto.Signer, payload any) []byte {
	t.Helper()
	b, err := cbor.Marshal(payload)
	if err != nil {
		t.Fatal(err)
	}
	s, err := cose.NewSigner(alg, key)
	if err != nil {
		t.Fatal(err)
	}
	m := cose.UntaggedSign1Message{Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: alg}}, Payload: b}
	if err := m.Sign(rand.Reader, nil, s); err != nil {
		t.Fatal(err)
	}
	out, err := m.MarshalCBOR()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestVerifySignature(t *testing.T) {
	keys := map[elliptic.Curve]*ecdsa.PrivateKey{}
	for _, c := range []elliptic.Curve{elliptic.P224(), elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys[c] = k
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	pcr0 := attest.PCR4("x")
	info := pcrInfo{0, bytesAsArray(pcr0)}
	p384 := keys[elliptic.P384()]
	cert := certificate(t, p384)
	good := pcrSignature{cert, sign(t, cose.AlgorithmES384, p384, info)}
	for name, tt := range map[string]struct {
		section any
		want    error
	}{
		"P-384":               {[]pcrSignature{good}, nil},
		"P-256":               {[]pcrSignature{{certificate(t, keys[elliptic.P256()]), sign(t, cose.AlgorithmES256, keys[elliptic.P256()], info)}}, nil},
		"P-521":               {[]pcrSignature{{certificate(t, keys[elliptic.P521()]), sign(t, cose.AlgorithmES512, keys[elliptic.P521()], info)}}, nil},
		"none":                {[]pcrSignature{}, ErrFormat},
		"two":                 {[]pcrSignature{good, good}, ErrFormat},
		"no array":            {good, ErrFormat},
		"bytes, no array":     {[]map[string]any{{"signing_certificate": cert, "signature": []byte(good.Signature)}}, ErrFormat},
		"unknown member":      {[]map[string]any{{"signing_certificate": bytesAsArray(cert), "signature": good.Signature, "more": 1}}, ErrFormat},
		"no PEM":              {[]pcrSignature{{[]byte("x"), good.Signature}}, ErrFormat},
		"two certificates":    {[]pcrSignature{{append(append(bytesAsArray{}, cert...), cert...), good.Signature}}, ErrFormat},
		"PEM, no certificate": {[]pcrSignature{{pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), good.Signature}}, ErrFormat},
		"no COSE_Sign1":       {[]pcrSignature{{cert, []byte("x")}}, ErrFormat},
		"another key":         {[]pcrSignature{{certificate(t, keys[elliptic.P256()]), good.Signature}}, ErrSignature},
		"P-224":               {[]pcrSignature{{certificate(t, keys[elliptic.P224()]), good.Signature}}, ErrSignature},
		"Ed25519":             {[]pcrSignature{{certificate(t, ed), good.Signature}}, ErrSignature},
		"payload":             {[]pcrSignature{{cert, sign(t, cose.AlgorithmES384, p384, "x")}}, ErrFormat},
		"PCR1":                {[]pcrSignature{{cert, sign(t, cose.AlgorithmES384, p384, pcrInfo{1, bytesAsArray(pcr0)})}}, ErrSignature},
		"another PCR0":        {[]pcrSignature{{cert, sign(t, cose.AlgorithmES384, p384, pcrInfo{0, bytesAsArray(attest.PCR4("y"))})}}, ErrSignature},
		"short PCR0":          {[]pcrSignature{{cert, sign(t, cose.AlgorithmES384, p384, pcrInfo{0, bytesAsArray(pcr0[:20])})}}, ErrSignature},
	} {
		section, err := cbor.Marshal(tt.section)
		if err != nil {
			t.Fatal(err)
		}
		if cert, err := verifySignature(section, pcr0); !errors.Is(err, tt.want) || (cert == nil) == (err == nil) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
}
