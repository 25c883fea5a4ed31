package wire

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/fxamacker/cbor/v2"
)

// MaxPlaintext is what KMS Encrypt takes at most, in bytes: an encoded
// Question and an encoded Answer must each fit (AWS KMS API Reference,
// Encrypt, Plaintext).
const MaxPlaintext = 4096

// MaxNewTokens bounds Question.MaxTokens.
const MaxNewTokens = 4096

// Errors that a user's own input can cause.
var (
	// ErrEmpty: the question holds nothing but white space.
	ErrEmpty = errors.New("the question is empty")
	// ErrNotUTF8: the question is not valid UTF-8 text.
	ErrNotUTF8 = errors.New("the question is not valid UTF-8 text")
	// ErrTooLong: the encoded question is over MaxPlaintext.
	ErrTooLong = errors.New("the question is too long for one KMS ciphertext")
)

// Question is what the client asks: the model's whole prompt, the user's words
// in the model's prompt form, and how to sample. The encoding is deterministic
// CBOR with small integer keys, so that a question of 4,000 bytes still fits
// into one KMS ciphertext.
type Question struct {
	Prompt      string  `cbor:"1,keyasint"`
	MaxTokens   int     `cbor:"2,keyasint,omitempty"` // new tokens; 0: the enclave's default
	Temperature float32 `cbor:"3,keyasint,omitempty"` // 0: greedy
	TopK        int     `cbor:"4,keyasint,omitempty"` // 0: off
	Seed        uint32  `cbor:"5,keyasint,omitempty"`
}

// Format prints sizes only, whatever the verb.
func (q Question) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "question of %d bytes", len(q.Prompt))
}

// Answer is what the model said.
type Answer struct {
	Text             string `cbor:"1,keyasint"`
	FinishReason     string `cbor:"2,keyasint"` // "stop", "length" or "size" (stopped because no more fits into one ciphertext)
	PromptTokens     int    `cbor:"3,keyasint"` // 0 if the answer was cut for its size
	CompletionTokens int    `cbor:"4,keyasint"`
}

// Format prints sizes only, whatever the verb.
func (a Answer) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "answer of %d bytes (%s)", len(a.Text), a.FinishReason)
}

// FinishSize marks an answer that was cut because no more of it fits into one
// KMS ciphertext.
const FinishSize = "size"

// MaxAnswerText is how many bytes of text an Answer can carry: what remains of
// MaxPlaintext beside the other fields at their largest.
const MaxAnswerText = MaxPlaintext - 64

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return v
}

// EncodeQuestion checks q and encodes it. The errors are ErrEmpty, ErrNotUTF8
// and ErrTooLong, possibly wrapped.
func EncodeQuestion(q Question) ([]byte, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	b, err := encMode.Marshal(q)
	if err != nil {
		return nil, errors.New("wire: cannot encode the question")
	}
	if len(b) > MaxPlaintext {
		n := len(b)
		clear(b)
		return nil, fmt.Errorf("%w: %d bytes with its framing, KMS encrypts at most %d", ErrTooLong, n, MaxPlaintext)
	}
	return b, nil
}

// DecodeQuestion is the strict inverse of EncodeQuestion.
func DecodeQuestion(b []byte) (Question, error) {
	var q Question
	if len(b) > MaxPlaintext || decMode.Unmarshal(b, &q) != nil {
		return Question{}, errors.New("wire: not an encoded question")
	}
	if err := q.check(); err != nil {
		return Question{}, err
	}
	return q, nil
}

func (q *Question) check() error {
	switch {
	case !utf8.ValidString(q.Prompt):
		return ErrNotUTF8
	case strings.TrimSpace(q.Prompt) == "":
		return ErrEmpty
	case q.MaxTokens < 0 || q.MaxTokens > MaxNewTokens:
		return fmt.Errorf("wire: max tokens must be 0 to %d", MaxNewTokens)
	case !(q.Temperature >= 0 && q.Temperature <= 2) || math.IsInf(float64(q.Temperature), 0):
		return errors.New("wire: temperature must be 0 to 2")
	case q.TopK < 0:
		return errors.New("wire: top-k must not be negative")
	}
	return nil
}

// EncodeAnswer encodes a. Its text must be at most MaxAnswerText bytes.
func EncodeAnswer(a Answer) ([]byte, error) {
	b, err := encMode.Marshal(a)
	if err != nil || len(b) > MaxPlaintext {
		clear(b)
		return nil, fmt.Errorf("wire: the answer does not fit into %d bytes", MaxPlaintext)
	}
	return b, nil
}

// DecodeAnswer is the strict inverse of EncodeAnswer.
func DecodeAnswer(b []byte) (Answer, error) {
	var a Answer
	if len(b) > MaxPlaintext || decMode.Unmarshal(b, &a) != nil {
		return Answer{}, errors.New("wire: not an encoded answer")
	}
	return a, nil
}
