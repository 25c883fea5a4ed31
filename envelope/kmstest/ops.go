package kmstest

import (
	"crypto/rand"
	"strings"
)

// Limits of KMS, in bytes (AWS KMS API Reference).
const (
	maxPlaintext  = 4096
	maxCiphertext = 6144
	maxRandom     = 1024
)

func lower(s string) string { return strings.ToLower(s) }

type encryptInput struct {
	modifiers
	KeyID               string `json:"KeyId"`
	Plaintext           []byte
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
}

type encryptOutput struct {
	CiphertextBlob      []byte
	KeyID               string `json:"KeyId"`
	EncryptionAlgorithm string
}

const symmetric = "SYMMETRIC_DEFAULT"

func checkAlgorithm(a string) error {
	if a != "" && a != symmetric {
		return apiError{"InvalidKeyUsageException", "the key is symmetric"}
	}
	return nil
}

func (s *Server) encrypt(c *call, in *encryptInput) (any, error) {
	if n := len(in.Plaintext); n < 1 || n > maxPlaintext {
		return nil, apiError{"ValidationException", "Plaintext must have 1 to 4096 bytes"}
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	k, err := s.sealingKey(c, in.KeyID, in.EncryptionContext)
	if err != nil {
		return nil, err
	}
	return encryptOutput{k.seal(in.Plaintext, in.EncryptionContext), k.arn, symmetric}, nil
}

type decryptInput struct {
	modifiers
	CiphertextBlob      []byte
	KeyID               string `json:"KeyId"`
	EncryptionContext   map[string]string
	EncryptionAlgorithm string
	Recipient           *recipientInfo
}

type decryptOutput struct {
	Plaintext              []byte `json:",omitempty"`
	CiphertextForRecipient []byte `json:",omitempty"`
	KeyID                  string `json:"KeyId"`
	EncryptionAlgorithm    string
}

var errCiphertext = apiError{"InvalidCiphertextException", "the ciphertext was not made with this key and encryption context"}

// sourceKey is the key under which a ciphertext is, which must be the named
// one if one is named.
func (s *Server) sourceKey(blob []byte, name string) (*key, error) {
	if n := len(blob); n < 1 || n > maxCiphertext {
		return nil, apiError{"ValidationException", "CiphertextBlob must have 1 to 6144 bytes"}
	}
	k, err := s.keyOf(blob)
	if err != nil {
		return nil, errCiphertext
	}
	if name == "" {
		return k, nil
	}
	named, err := s.find(name)
	if err != nil {
		return nil, err
	}
	if named != k {
		return nil, apiError{"IncorrectKeyException", "the ciphertext is under another key"}
	}
	return k, nil
}

func (s *Server) decrypt(c *call, in *decryptInput) (any, error) {
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	k, err := s.sourceKey(in.CiphertextBlob, in.KeyID)
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
	plaintext, err := k.open(in.CiphertextBlob, in.EncryptionContext)
	if err != nil {
		return nil, errCiphertext
	}
	out := decryptOutput{KeyID: k.arn, EncryptionAlgorithm: symmetric}
	out.Plaintext, out.CiphertextForRecipient, err = answer(recipient, plaintext)
	return out, err
}

type generateDataKeyInput struct {
	modifiers
	KeyID             string `json:"KeyId"`
	KeySpec           string
	NumberOfBytes     int
	EncryptionContext map[string]string
	Recipient         *recipientInfo
}

type generateDataKeyOutput struct {
	CiphertextBlob         []byte
	Plaintext              []byte `json:",omitempty"`
	CiphertextForRecipient []byte `json:",omitempty"`
	KeyID                  string `json:"KeyId"`
}

func (s *Server) generateDataKey(c *call, in *generateDataKeyInput) (any, error) {
	size, err := dataKeySize(in.KeySpec, in.NumberOfBytes)
	if err != nil {
		return nil, err
	}
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
	plaintext := make([]byte, size)
	rand.Read(plaintext)
	out := generateDataKeyOutput{CiphertextBlob: k.seal(plaintext, in.EncryptionContext), KeyID: k.arn}
	out.Plaintext, out.CiphertextForRecipient, err = answer(recipient, plaintext)
	return out, err
}

// dataKeySize is how many bytes a data key has.
func dataKeySize(spec string, size int) (int, error) {
	switch {
	case (spec != "") == (size != 0):
		return 0, apiError{"ValidationException", "give either KeySpec or NumberOfBytes"}
	case spec == "AES_256":
		return 32, nil
	case spec == "AES_128":
		return 16, nil
	case spec != "" || size < 1 || size > maxRandom:
		return 0, apiError{"ValidationException", "KeySpec must be AES_256 or AES_128, NumberOfBytes 1 to 1024"}
	}
	return size, nil
}

type generateRandomInput struct {
	NumberOfBytes int
	Recipient     *recipientInfo
}

type generateRandomOutput struct {
	Plaintext              []byte `json:",omitempty"`
	CiphertextForRecipient []byte `json:",omitempty"`
}

func (s *Server) generateRandom(c *call, in *generateRandomInput) (any, error) {
	if in.NumberOfBytes < 1 || in.NumberOfBytes > maxRandom {
		return nil, apiError{"ValidationException", "NumberOfBytes must be 1 to 1024"}
	}
	recipient, err := s.verify(c, in.Recipient)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, in.NumberOfBytes)
	rand.Read(plaintext)
	var out generateRandomOutput
	out.Plaintext, out.CiphertextForRecipient, err = answer(recipient, plaintext)
	return out, err
}
