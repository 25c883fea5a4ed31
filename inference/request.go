package inference

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Limits on a Request. They bound what one caller can make a model do before
// its prompt has been read.
const (
	// DefaultMaxTokens is the number of new tokens where a request names none.
	DefaultMaxTokens = 256
	// MaxPromptBytes is the longest prompt.
	MaxPromptBytes = 1 << 20
	// MaxStopStrings is the most stop strings in a request.
	MaxStopStrings = 16
	// MaxStopBytes is the longest stop string.
	MaxStopBytes = 256
)

// Request is what to generate. Its zero value, with a prompt, asks for greedy
// decoding.
type Request struct {
	// Prompt is the text to continue, at most MaxPromptBytes of UTF-8. Text
	// that spells a special token is read as characters. An empty prompt
	// starts from the model's beginning-of-text token.
	Prompt string

	// MaxTokens limits the new tokens; the prompt never counts. 0 means
	// DefaultMaxTokens. The answer also ends, with FinishLength, where the
	// model has no space left.
	MaxTokens int

	// Temperature makes unlikely tokens likelier the higher it is, in [0, 10].
	// 0 means greedy: the fields down to Seed are then not used, but
	// RepeatPenalty is.
	Temperature float32
	// TopK keeps only the K likeliest tokens. 0 means all.
	TopK int
	// TopP keeps the likeliest tokens that together reach this probability,
	// in [0, 1]. 0 means all.
	TopP float32
	// MinP drops tokens below this fraction of the likeliest one's
	// probability, in [0, 1]. 0 means none.
	MinP float32
	// Seed makes sampling repeatable: equal requests with equal seeds draw
	// equally. 0 is a seed like any other.
	Seed uint32

	// RepeatPenalty above 1 makes recently used tokens less likely, in
	// (0, 10]. 0 and 1 mean no penalty.
	RepeatPenalty float32
	// RepeatWindow is how many tokens back RepeatPenalty looks, at most 4096.
	// 0 means 64.
	RepeatWindow int

	// Stop ends the answer before the first of these strings, wherever token
	// borders lie. At most MaxStopStrings, each of 1 to MaxStopBytes bytes.
	Stop []string
}

// BlogPreset returns req with the sampling of AWS' blog post on inference in
// Nitro Enclaves: one of the 5 likeliest tokens, 20 tokens at most. Unlike
// there the prompt does not count towards the 20.
func BlogPreset(req Request) Request {
	req.Temperature, req.TopK, req.TopP, req.MinP = 1, 5, 0, 0
	req.MaxTokens = 20
	return req
}

// Validate returns an error that is ErrInvalidRequest if a field is out of its
// range, or ErrPromptTooLong. The error names the field but holds no text of
// the request. Implementations of Model call it.
func (r *Request) Validate() error {
	if len(r.Prompt) > MaxPromptBytes {
		return &RequestError{Field: "Prompt", Reason: fmt.Sprintf("%d bytes, limit %d", len(r.Prompt), MaxPromptBytes), Err: ErrPromptTooLong}
	}
	if !utf8.ValidString(r.Prompt) {
		return invalid("Prompt", "not UTF-8")
	}
	if r.MaxTokens < 0 || r.MaxTokens > math.MaxInt32 {
		return invalid("MaxTokens", "out of range")
	}
	if r.TopK < 0 || r.TopK > math.MaxInt32 {
		return invalid("TopK", "out of range")
	}
	if r.RepeatWindow < 0 || r.RepeatWindow > 4096 {
		return invalid("RepeatWindow", "not in 0 to 4096")
	}
	for _, f := range []struct {
		name       string
		value, max float32
	}{
		{"Temperature", r.Temperature, 10},
		{"TopP", r.TopP, 1},
		{"MinP", r.MinP, 1},
		{"RepeatPenalty", r.RepeatPenalty, 10},
	} {
		// Written so that NaN, which compares false, is refused too.
		if !(f.value >= 0 && f.value <= f.max) {
			return invalid(f.name, fmt.Sprintf("not in 0 to %g", f.max))
		}
	}
	if len(r.Stop) > MaxStopStrings {
		return invalid("Stop", fmt.Sprintf("%d strings, limit %d", len(r.Stop), MaxStopStrings))
	}
	for _, s := range r.Stop {
		if s == "" || len(s) > MaxStopBytes || !utf8.ValidString(s) {
			return invalid("Stop", fmt.Sprintf("a string is empty, over %d bytes or not UTF-8", MaxStopBytes))
		}
	}
	return nil
}

func invalid(field, reason string) error {
	return &RequestError{Field: field, Reason: reason, Err: ErrInvalidRequest}
}
