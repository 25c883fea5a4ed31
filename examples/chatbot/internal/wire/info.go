package wire

import (
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// Info is what the enclave attests beside its key, as the application's part of
// the key configuration.
type Info struct {
	// ModelName is the model's own name for itself, cut to 256 bytes.
	ModelName string `cbor:"1,keyasint"`
	// ModelDigest is the SHA-256 of the model file in hexadecimal.
	ModelDigest string `cbor:"2,keyasint"`
	// Parameters counts the model's weights.
	Parameters uint64 `cbor:"3,keyasint"`
	// MaxTokens is the most tokens of a conversation and its answer.
	MaxTokens int `cbor:"4,keyasint"`
	// Engine names what runs the model.
	Engine string `cbor:"5,keyasint"`
	// Lowercase says that the model knows lower-case questions only.
	Lowercase bool `cbor:"6,keyasint"`
	// KeyARN is the KMS key that questions must be sealed under; empty where
	// the enclave takes questions without KMS only.
	KeyARN string `cbor:"7,keyasint"`
}

const maxName = 256

// EncodeInfo encodes i.
func EncodeInfo(i Info) ([]byte, error) {
	i.ModelName, i.Engine = short(i.ModelName), short(i.Engine)
	return encode("info", i)
}

// short cuts s before a character. What a model calls itself need not be text.
func short(s string) string {
	s = strings.ToValidUTF8(s[:min(len(s), maxName+utf8.UTFMax)], "\ufffd")
	if len(s) <= maxName {
		return s
	}
	n := maxName
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// DecodeInfo is the inverse of EncodeInfo.
func DecodeInfo(b []byte) (Info, error) {
	var i Info
	if len(b) > session.MaxInfo {
		return Info{}, fmt.Errorf("wire: an info of %d bytes", len(b))
	}
	if err := decode("info", b, &i); err != nil {
		return Info{}, err
	}
	if _, err := hex.DecodeString(i.ModelDigest); err != nil {
		return Info{}, fmt.Errorf("wire: a model digest that is not hexadecimal")
	}
	if i.MaxTokens < 0 {
		return Info{}, fmt.Errorf("wire: a model with a negative number of tokens")
	}
	return i, nil
}
