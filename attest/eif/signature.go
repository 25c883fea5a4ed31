package eif

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"

	"github.com/nitroseal/nitroseal/attest"
)

// The signature section is a CBOR array of one pcrSignature. The format's
// authors serialise bytes as arrays of integers, here and in pcrInfo.
type pcrSignature struct {
	Certificate bytesAsArray `cbor:"signing_certificate"` // PEM
	Signature   bytesAsArray `cbor:"signature"`           // COSE_Sign1
}

// pcrInfo is what is signed.
type pcrInfo struct {
	Index int32        `cbor:"register_index"`
	Value bytesAsArray `cbor:"register_value"`
}

// bytesAsArray is a CBOR array of integers from 0 to 255.
type bytesAsArray []byte

// MarshalCBOR implements cbor.Marshaler.
func (b bytesAsArray) MarshalCBOR() ([]byte, error) {
	wide := make([]uint16, len(b))
	for i, v := range b {
		wide[i] = uint16(v)
	}
	return cbor.Marshal(wide)
}

// UnmarshalCBOR implements cbor.Unmarshaler.
func (b *bytesAsArray) UnmarshalCBOR(data []byte) error {
	if len(data) == 0 || data[0]>>5 != 4 {
		return errors.New("not an array")
	}
	var narrow []byte
	if err := cbor.Unmarshal(data, &narrow); err != nil {
		return err
	}
	*b = narrow
	return nil
}

var decMode = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
	}.DecMode()
	if err != nil {
		panic(err) // the options are constants
	}
	return m
}()

func badSignature(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrSignature, fmt.Sprintf(format, args...))
}

// verifySignature checks that the section signs pcr0, and returns by whom.
func verifySignature(section []byte, pcr0 attest.PCR) (*x509.Certificate, error) {
	var list []pcrSignature
	if decMode.Unmarshal(section, &list) != nil || len(list) != 1 {
		return nil, malformed("the signature section is not one signature")
	}
	block, rest := pem.Decode(list[0].Certificate)
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, malformed("the signing certificate is not one PEM certificate")
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, malformed("the signing certificate cannot be parsed")
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, badSignature("the signing certificate has no ECDSA key")
	}
	alg, ok := map[elliptic.Curve]cose.Algorithm{
		elliptic.P256(): cose.AlgorithmES256, elliptic.P384(): cose.AlgorithmES384, elliptic.P521(): cose.AlgorithmES512,
	}[key.Curve]
	if !ok {
		return nil, badSignature("the signing key is on an unknown curve")
	}
	var m cose.UntaggedSign1Message
	if err := m.UnmarshalCBOR(list[0].Signature); err != nil {
		return nil, malformed("the signature is no COSE_Sign1")
	}
	v, err := cose.NewVerifier(alg, key)
	if err != nil {
		return nil, badSignature("the signing key cannot be used")
	}
	if err := m.Verify(nil, v); err != nil {
		return nil, badSignature("it does not verify with the signing certificate")
	}
	var info pcrInfo
	if decMode.Unmarshal(m.Payload, &info) != nil {
		return nil, malformed("the signed payload is no register")
	}
	if info.Index != 0 || !attest.PCR(info.Value).Equal(pcr0) {
		return nil, badSignature("it is over another PCR0 than this image has")
	}
	return cert, nil
}

// Signer signs images.
type Signer struct {
	// Key is the private key, ECDSA on P-384.
	Key *ecdsa.PrivateKey
	// Certificate is for Key. Its DER is what PCR8 measures.
	Certificate *x509.Certificate
}

// section returns the signature section for pcr0. The signature is
// deterministic (RFC 6979), so that builds can be compared.
func (s *Signer) section(pcr0 attest.PCR) ([]byte, error) {
	if s.Key == nil || s.Certificate == nil || s.Key.Curve != elliptic.P384() || !s.Key.PublicKey.Equal(s.Certificate.PublicKey) {
		return nil, errors.New("eif: signing needs a P-384 key and its certificate")
	}
	payload, err := cbor.Marshal(pcrInfo{0, bytesAsArray(pcr0)})
	if err != nil {
		return nil, err
	}
	protected := []byte{0xa1, 0x01, 0x38, 0x22} // {alg: ES384}
	toSign, err := cbor.Marshal([]any{"Signature1", protected, []byte{}, payload})
	if err != nil {
		return nil, err
	}
	digest := sha512.Sum384(toSign)
	der, err := s.Key.Sign(nil, digest[:], crypto.SHA384)
	if err != nil {
		return nil, err
	}
	var rs struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &rs); err != nil {
		return nil, err
	}
	raw := make([]byte, 96)
	rs.R.FillBytes(raw[:48])
	rs.S.FillBytes(raw[48:])
	sign1, err := cbor.Marshal([]any{protected, map[int]int{}, payload, raw})
	if err != nil {
		return nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate.Raw})
	return cbor.Marshal([]pcrSignature{{certPEM, sign1}})
}
