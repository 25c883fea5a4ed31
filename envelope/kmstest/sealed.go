package kmstest

import (
	"crypto/rand"
	"crypto/x509"
)

// The operations whose answers hold nothing secret.

type reEncryptInput struct {
	modifiers
	CiphertextBlob                 []byte
	SourceKeyID                    string `json:"SourceKeyId"`
	SourceEncryptionContext        map[string]string
	SourceEncryptionAlgorithm      string
	DestinationKeyID               string `json:"DestinationKeyId"`
	DestinationEncryptionContext   map[string]string
	DestinationEncryptionAlgorithm string
}

type reEncryptOutput struct {
	CiphertextBlob                 []byte
	SourceKeyID                    string `json:"SourceKeyId"`
	KeyID                          string `json:"KeyId"`
	SourceEncryptionAlgorithm      string
	DestinationEncryptionAlgorithm string
}

func (s *Server) reEncrypt(c *call, in *reEncryptInput) (any, error) {
	for _, a := range []string{in.SourceEncryptionAlgorithm, in.DestinationEncryptionAlgorithm} {
		if err := checkAlgorithm(a); err != nil {
			return nil, err
		}
	}
	source, err := s.sourceKey(in.CiphertextBlob, in.SourceKeyID)
	if err != nil {
		return nil, err
	}
	destination, err := s.find(in.DestinationKeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorizeAction(c, "ReEncryptFrom", source, in.SourceEncryptionContext); err != nil {
		return nil, err
	}
	if err := s.authorizeAction(c, "ReEncryptTo", destination, in.DestinationEncryptionContext); err != nil {
		return nil, err
	}
	if err := destination.encryption(); err != nil {
		return nil, err
	}
	plaintext, err := source.open(in.CiphertextBlob, in.SourceEncryptionContext)
	if err != nil {
		return nil, errCiphertext
	}
	blob := destination.seal(plaintext, in.DestinationEncryptionContext)
	return reEncryptOutput{blob, source.arn, destination.arn, symmetric, symmetric}, nil
}

type generateDataKeyWithoutPlaintextInput struct {
	modifiers
	KeyID             string `json:"KeyId"`
	KeySpec           string
	NumberOfBytes     int
	EncryptionContext map[string]string
}

type generateDataKeyWithoutPlaintextOutput struct {
	CiphertextBlob []byte
	KeyID          string `json:"KeyId"`
}

func (s *Server) generateDataKeyWithoutPlaintext(c *call, in *generateDataKeyWithoutPlaintextInput) (any, error) {
	size, err := dataKeySize(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
	k, err := s.sealingKey(c, in.KeyID, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, size)
	rand.Read(plaintext)
	return generateDataKeyWithoutPlaintextOutput{k.seal(plaintext, in.EncryptionContext), k.arn}, nil
}

type generateDataKeyPairWithoutPlaintextInput struct {
	modifiers
	KeyID             string `json:"KeyId"`
	KeyPairSpec       string
	EncryptionContext map[string]string
}

type generateDataKeyPairWithoutPlaintextOutput struct {
	PrivateKeyCiphertextBlob []byte
	PublicKey                []byte
	KeyID                    string `json:"KeyId"`
	KeyPairSpec              string
}

func (s *Server) generateDataKeyPairWithoutPlaintext(c *call, in *generateDataKeyPairWithoutPlaintextInput) (any, error) {
	k, err := s.sealingKey(c, in.KeyID, in.EncryptionContext)
	if err != nil {
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
	public, err := x509.MarshalPKIXPublicKey(pair.Public())
	if err != nil {
		return nil, err
	}
	return generateDataKeyPairWithoutPlaintextOutput{k.seal(private, in.EncryptionContext), public, k.arn, in.KeyPairSpec}, nil
}

// sealingKey is the named key, which must be for encryption and allow the call.
func (s *Server) sealingKey(c *call, name string, ec map[string]string) (*key, error) {
	k, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, ec); err != nil {
		return nil, err
	}
	return k, k.encryption()
}
