// Package wire holds the chatbot's message forms: JSON between client, parent
// and enclave, and the CBOR plaintext inside the KMS ciphertexts, which the
// parent never sees.
//
//	client ── AskRequest (JSON) ──▶ parent ── the same bytes ──▶ enclave
//	            └ Ciphertext: KMS(Question, context request)
//	client ◀─ AskResponse (JSON) ── parent ◀─ the same bytes ─── enclave
//	            └ EncryptedData: KMS(Answer, context response)
//
// This first form hands the enclave temporary AWS credentials through the
// parent, as the reference system does. The parent can read those. Send
// credentials that are good for nothing but this: see envelope contexts below
// and the key policy that the local demo uses.
package wire

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"

	"github.com/nitroseal/nitroseal/envelope"
)

const (
	// Path is where the parent takes an AskRequest by POST.
	Path = "/v1/ask"
	// Method is the vsockrpc method of the enclave that takes the same bytes.
	Method = "chatbot.v1.Ask"
	// MaxMessage bounds an AskRequest and an AskResponse, in bytes. A KMS
	// ciphertext of 4,096 bytes and a long session token fit in a fraction.
	MaxMessage = 64 << 10
	// RequestIDSize is the length of a request id, in hexadecimal digits.
	RequestIDSize = 32
)

// AskRequest is one question on its way to the enclave.
type AskRequest struct {
	// RequestID is 16 random bytes in lower-case hexadecimal. It is part of
	// both encryption contexts, so that KMS itself refuses an answer that
	// belongs to another question.
	RequestID string `json:"request_id"`
	// The credentials with which the enclave calls KMS. SessionToken may be
	// empty.
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	SessionToken    string `json:"token,omitempty"`
	// Region must be the one that the enclave is configured for.
	Region string `json:"region"`
	// Ciphertext is a Question under KMS, standard base64 in JSON.
	Ciphertext []byte `json:"ciphertext"`
}

// Format prints neither credentials nor ciphertext, whatever the verb, so that
// no log line can leak them by accident.
func (r AskRequest) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "ask %s (%d bytes of ciphertext)", r.RequestID, len(r.Ciphertext))
}

// LogValue is Format for log/slog.
func (r AskRequest) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(r)) }

// Check reports whether every field has its documented form.
func (r *AskRequest) Check() error {
	switch {
	case !validID(r.RequestID):
		return fmt.Errorf("wire: request_id is not %d lower-case hexadecimal digits", RequestIDSize)
	case r.AccessKeyID == "" || r.SecretAccessKey == "":
		return fmt.Errorf("wire: no credentials")
	case r.Region == "":
		return fmt.Errorf("wire: no region")
	case len(r.Ciphertext) == 0:
		return fmt.Errorf("wire: no ciphertext")
	}
	return nil
}

// AskResponse is the answer on its way back.
type AskResponse struct {
	RequestID string `json:"request_id"`
	// EncryptedData is an Answer under KMS, standard base64 in JSON.
	EncryptedData []byte `json:"EncryptedData"`
}

// ErrorResponse is what the parent sends in place of an AskResponse, with the
// reason's HTTP status.
type ErrorResponse struct {
	Error ErrorBody `json:"error"`
}

// ErrorBody names a Reason and repeats its fixed text.
type ErrorBody struct {
	Code    Reason `json:"code"`
	Message string `json:"message"`
}

// DecodeJSON reads exactly one JSON value of at most MaxMessage bytes into v
// and refuses unknown fields. The error never repeats the input.
func DecodeJSON(data []byte, v any) error {
	if len(data) > MaxMessage {
		return fmt.Errorf("wire: %d bytes, at most %d are taken", len(data), MaxMessage)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("wire: not the expected JSON")
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("wire: data after the JSON value")
	}
	return nil
}

// NewRequestID returns a fresh random request id.
func NewRequestID() string {
	var b [RequestIDSize / 2]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func validID(id string) bool {
	if len(id) != RequestIDSize {
		return false
	}
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// The encryption contexts of the two directions. A key policy can tell them
// apart by kms:EncryptionContext:direction: whoever may open answers need not
// be able to open questions.
func contextFor(direction, requestID string) envelope.EncryptionContext {
	return envelope.EncryptionContext{
		"app":       "nitroseal-chatbot",
		"direction": direction,
		"request":   requestID,
	}
}

// RequestContext is the encryption context of the question.
func RequestContext(requestID string) envelope.EncryptionContext {
	return contextFor("request", requestID)
}

// ResponseContext is the encryption context of the answer.
func ResponseContext(requestID string) envelope.EncryptionContext {
	return contextFor("response", requestID)
}
