package inference

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// Validate returns an error that is ErrInvalidRequest if a field is out of its
// range, or ErrPromptTooLong. The error names the field but holds no text of
// the request. Implementations of Model call it. It does not read Grammar and
// JSONSchema beyond their length and encoding: implementations do.
func (r *Request) Validate() error {
	if err := r.validatePrompt(); err != nil {
		return err
	}
	if err := r.validateNumbers(); err != nil {
		return err
	}
	if len(r.Stop) > MaxStopStrings {
		return invalid("Stop", "%d strings, limit %d", len(r.Stop), MaxStopStrings)
	}
	for _, s := range r.Stop {
		if s == "" || len(s) > MaxStopBytes || !utf8.ValidString(s) {
			return invalid("Stop", "a string is empty, over %d bytes or not UTF-8", MaxStopBytes)
		}
	}
	if err := r.validateGrammar(); err != nil {
		return err
	}
	return r.validateCache()
}

// validatePrompt checks Prompt and Messages. Both may be empty.
func (r *Request) validatePrompt() error {
	if len(r.Prompt) > MaxPromptBytes {
		return tooLong("Prompt", len(r.Prompt))
	}
	if !utf8.ValidString(r.Prompt) {
		return invalid("Prompt", "not UTF-8")
	}
	if len(r.Messages) == 0 {
		return nil
	}
	if r.Prompt != "" {
		return invalid("Messages", "set beside Prompt")
	}
	if len(r.Messages) > MaxMessages {
		return invalid("Messages", "%d messages, limit %d", len(r.Messages), MaxMessages)
	}
	bytes, talk := 0, false
	for i, m := range r.Messages {
		switch m.Role {
		case RoleSystem:
			if talk {
				return invalid("Messages", "message %d is the system's and does not stand at the beginning", i)
			}
		case RoleUser, RoleAssistant:
			talk = true
		default:
			return invalid("Messages", "message %d has an unknown role", i)
		}
		if !utf8.ValidString(m.Content) {
			return invalid("Messages", "the content of message %d is not UTF-8", i)
		}
		// Cannot overflow: each step adds a string that is in memory.
		if bytes += len(m.Content); bytes > MaxPromptBytes {
			return tooLong("Messages", bytes)
		}
	}
	if r.Messages[len(r.Messages)-1].Role != RoleUser {
		return invalid("Messages", "the last message is not the user's")
	}
	return nil
}

func (r *Request) validateNumbers() error {
	for _, f := range []struct {
		name       string
		value, max int
	}{
		{"MaxTokens", r.MaxTokens, math.MaxInt32},
		{"TopK", r.TopK, math.MaxInt32},
		{"RepeatWindow", r.RepeatWindow, 4096},
		{"TopLogProbs", r.TopLogProbs, MaxTopLogProbs},
	} {
		if f.value < 0 || f.value > f.max {
			return invalid(f.name, "not in 0 to %d", f.max)
		}
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
			return invalid(f.name, "not in 0 to %g", f.max)
		}
	}
	if r.TopLogProbs > 0 && !r.LogProbs {
		return invalid("TopLogProbs", "set without LogProbs")
	}
	return nil
}

func (r *Request) validateGrammar() error {
	if r.Grammar != "" && r.JSONSchema != "" {
		return invalid("Grammar", "set beside JSONSchema")
	}
	for _, f := range []struct{ name, value string }{
		{"Grammar", r.Grammar},
		{"JSONSchema", r.JSONSchema},
	} {
		if len(f.value) > MaxGrammarBytes {
			return invalid(f.name, "%d bytes, limit %d", len(f.value), MaxGrammarBytes)
		}
		if !utf8.ValidString(f.value) {
			return invalid(f.name, "not UTF-8")
		}
	}
	return nil
}

// validateCache expects Prompt and Messages to be checked.
func (r *Request) validateCache() error {
	if len(r.CacheScope) > MaxCacheScopeBytes {
		return invalid("CacheScope", "%d bytes, limit %d", len(r.CacheScope), MaxCacheScopeBytes)
	}
	if !utf8.ValidString(r.CacheScope) {
		return invalid("CacheScope", "not UTF-8")
	}
	n := r.PublicPrefix
	if len(r.Messages) > 0 {
		if n < 0 || n > len(r.Messages) {
			return invalid("PublicPrefix", "not in 0 to %d messages", len(r.Messages))
		}
		return nil
	}
	if n < 0 || n > len(r.Prompt) {
		return invalid("PublicPrefix", "not in 0 to the %d bytes of Prompt", len(r.Prompt))
	}
	if n < len(r.Prompt) && !utf8.RuneStart(r.Prompt[n]) {
		return invalid("PublicPrefix", "inside a character")
	}
	return nil
}

func invalid(field, format string, args ...any) error {
	return &RequestError{Field: field, Reason: fmt.Sprintf(format, args...), Err: ErrInvalidRequest}
}

func tooLong(field string, n int) error {
	return &RequestError{Field: field, Reason: fmt.Sprintf("%d bytes, limit %d", n, MaxPromptBytes), Err: ErrPromptTooLong}
}
