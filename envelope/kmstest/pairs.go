package kmstest

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
)

// The operations on asymmetric keys.

type generateDataKeyPairInput struct {
	modifiers
	KeyID             string `json:"KeyId"`
	KeyPairSpec       string
	EncryptionContext map[string]string
	Recipient         *recipientInfo
}

type generateDataKeyPairOutput struct {
	PrivateKeyCiphertextBlob []byte
	PrivateKeyPlaintext      []byte `json:",omitempty"`
	CiphertextForRecipient   []byte `json:",omitempty"`
	PublicKey                []byte
	KeyID                    string `json:"KeyId"`
	KeyPairSpec              string
}

func (s *Server) generateDataKeyPair(c *call, in *generateDataKeyPairInput) (any, error) {
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	recipient, err := s.verify(c, in.Recipient)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, in.EncryptionContext); err != nil {
		return nil, err
	}
	if err := k.encryption(); err != nil {
		return nil, err
	}
	pair, err := newPair(in.KeyPairSpec)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(pair)
	if err != nil {
		return nil, err
	}
	out := generateDataKeyPairOutput{PrivateKeyCiphertextBlob: k.seal(private, in.EncryptionContext), KeyID: k.arn, KeyPairSpec: in.KeyPairSpec}
	if out.PublicKey, err = x509.MarshalPKIXPublicKey(pair.Public()); err != nil {
		return nil, err
	}
	out.PrivateKeyPlaintext, out.CiphertextForRecipient, err = answer(recipient, private)
	return out, err
}

// newPair makes a key pair of a spec.
func newPair(spec string) (crypto.Signer, error) {
	switch spec {
	case "RSA_2048":
		return rsa.GenerateKey(rand.Reader, 2048)
	case "RSA_3072":
		return rsa.GenerateKey(rand.Reader, 3072)
	case "RSA_4096":
		return rsa.GenerateKey(rand.Reader, 4096)
	case "ECC_NIST_P256":
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ECC_NIST_P384":
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ECC_NIST_P521":
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	}
	return nil, apiError{"UnsupportedOperationException", "this server does not make key pairs of that spec"}
}

type deriveSharedSecretInput struct {
	modifiers
	KeyID                 string `json:"KeyId"`
	KeyAgreementAlgorithm string
	PublicKey             []byte
	Recipient             *recipientInfo
}

type deriveSharedSecretOutput struct {
	SharedSecret           []byte `json:",omitempty"`
	CiphertextForRecipient []byte `json:",omitempty"`
	KeyID                  string `json:"KeyId"`
	KeyAgreementAlgorithm  string
	KeyOrigin              string
}

func (s *Server) deriveSharedSecret(c *call, in *deriveSharedSecretInput) (any, error) {
	if in.KeyAgreementAlgorithm != "ECDH" {
		return nil, apiError{"ValidationException", "KeyAgreementAlgorithm must be ECDH"}
	}
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	recipient, err := s.verify(c, in.Recipient)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	if k.ecdh == nil {
		return nil, apiError{"InvalidKeyUsageException", "the key is not for key agreement"}
	}
	public, err := parsePublic(in.PublicKey)
	if err != nil || public.Curve() != k.ecdh.Curve() {
		return nil, apiError{"ValidationException", "PublicKey is no key on the curve of the KMS key"}
	}
	secret, err := k.ecdh.ECDH(public)
	if err != nil {
		return nil, apiError{"ValidationException", "PublicKey cannot be used"}
	}
	out := deriveSharedSecretOutput{KeyID: k.arn, KeyAgreementAlgorithm: "ECDH", KeyOrigin: "AWS_KMS"}
	out.SharedSecret, out.CiphertextForRecipient, err = answer(recipient, secret)
	return out, err
}

func parsePublic(der []byte) (*ecdh.PublicKey, error) {
	parsed, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	key, ok := parsed.(*ecdsa.PublicKey)
	if !ok {
		return nil, apiError{"ValidationException", "not an elliptic-curve key"}
	}
	return key.ECDH()
}

type getPublicKeyOutput struct {
	KeyID                  string `json:"KeyId"`
	PublicKey              []byte
	KeySpec                string
	KeyUsage               string
	KeyAgreementAlgorithms []string
}

func (s *Server) getPublicKey(c *call, in *keyIDInput) (any, error) {
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, nil); err != nil {
		return nil, err
	}
	if k.ecdh == nil {
		return nil, apiError{"UnsupportedOperationException", "the key is symmetric"}
	}
	der, err := x509.MarshalPKIXPublicKey(k.ecdh.PublicKey())
	if err != nil {
		return nil, err
	}
	return getPublicKeyOutput{k.arn, der, k.spec, keyAgreement, []string{"ECDH"}}, nil
}
