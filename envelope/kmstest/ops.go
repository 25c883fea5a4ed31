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
	k, err := s.find(in.KeyID)
	if err != nil {
		return nil, err
	}
	if err := s.authorize(c, k, in.EncryptionContext); err != nil {
		return nil, err
	}
	if err := k.encryption(); err != nil {
		return nil, err
	}
	return encryptOutput{k.seal(in.Plaintext, in.EncryptionContext), k.arn, symmetric}, nil
}

type decryptInput struct {
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

func (s *Server) decrypt(c *call, in *decryptInput) (any, error) {
	if n := len(in.CiphertextBlob); n < 1 || n > maxCiphertext {
		return nil, apiError{"ValidationException", "CiphertextBlob must have 1 to 6144 bytes"}
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	invalid := apiError{"InvalidCiphertextException", "the ciphertext was not made with this key and encryption context"}
	k, err := s.keyOf(in.CiphertextBlob)
	if err != nil {
		return nil, invalid
	}
	if in.KeyID != "" {
		named, err := s.find(in.KeyID)
		if err != nil {
			return nil, err
		}
		if named != k {
			return nil, apiError{"IncorrectKeyException", "the ciphertext is under another key"}
		}
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
		return nil, invalid
	}
	out := decryptOutput{KeyID: k.arn, EncryptionAlgorithm: symmetric}
	out.Plaintext, out.CiphertextForRecipient, err = answer(recipient, plaintext)
	return out, err
}

type generateDataKeyInput struct {
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
	size := in.NumberOfBytes
	switch {
	case (in.KeySpec != "") == (size != 0):
		return nil, apiError{"ValidationException", "give either KeySpec or NumberOfBytes"}
	case in.KeySpec == "AES_256":
		size = 32
	case in.KeySpec == "AES_128":
		size = 16
	case in.KeySpec != "" || size < 1 || size > maxRandom:
		return nil, apiError{"ValidationException", "KeySpec must be AES_256 or AES_128, NumberOfBytes 1 to 1024"}
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
