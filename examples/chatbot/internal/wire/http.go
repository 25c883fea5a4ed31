package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
)

const (
	// Path is where the parent takes an AskRequest by POST.
	Path = "/v1/ask"
	// Method is the vsockrpc method of the enclave that takes the same bytes.
	Method = "chatbot.v1.Ask"
	// MaxMessage bounds an AskRequest and an AskResponse, in bytes. A KMS
	// ciphertext of 4,096 bytes and a long session token fit in a fraction.
	MaxMessage = 64 << 10
)

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
