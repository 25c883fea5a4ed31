package inference_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

// say returns messages from pairs of role and content.
func say(pairs ...string) []inference.Message {
	var m []inference.Message
	for i := 0; i < len(pairs); i += 2 {
		m = append(m, inference.Message{Role: inference.Role(pairs[i]), Content: pairs[i+1]})
	}
	return m
}

// TestValidateFields has each rule of the fields of conversations, cache,
// grammars and log-probabilities, on both sides of its border.
func TestValidateFields(t *testing.T) {
	type req = inference.Request
	const (
		maxPrompt  = inference.MaxPromptBytes
		maxGrammar = inference.MaxGrammarBytes
		maxScope   = inference.MaxCacheScopeBytes
	)
	turns := func(n int) []inference.Message {
		m := make([]inference.Message, n)
		for i := range m {
			m[i].Role = inference.RoleUser
		}
		return m
	}
	bytes := func(n int) string { return strings.Repeat("x", n) }
	invalid := inference.ErrInvalidRequest
	for _, tt := range []struct {
		name  string
		req   req
		field string // "" if it is valid
		err   error
	}{
		{"nothing", req{}, "", nil},
		{"one", req{Messages: say("user", "secret")}, "", nil},
		{"all roles", req{Messages: say("system", "a", "system", "b", "user", "c", "assistant", "d", "user", "e")}, "", nil},
		{"assistant begins", req{Messages: say("assistant", "a", "user", "b")}, "", nil},
		{"empty content", req{Messages: say("user", "")}, "", nil},
		{"empty list", req{Messages: []inference.Message{}, Prompt: "a"}, "", nil},
		{"both", req{Messages: say("user", "secret"), Prompt: "secret"}, "Messages", invalid},
		{"most", req{Messages: turns(inference.MaxMessages)}, "", nil},
		{"too many", req{Messages: turns(inference.MaxMessages + 1)}, "Messages", invalid},
		{"largest", req{Messages: say("system", bytes(maxPrompt/2), "user", bytes(maxPrompt/2))}, "", nil},
		{"too large together", req{Messages: say("system", bytes(maxPrompt/2), "user", bytes(maxPrompt/2+1))}, "Messages", inference.ErrPromptTooLong},
		{"not UTF-8", req{Messages: say("user", "secret\xff")}, "Messages", invalid},
		{"unknown role", req{Messages: say("secret", "a", "user", "b")}, "Messages", invalid},
		{"no role", req{Messages: say("", "a")}, "Messages", invalid},
		{"upper case", req{Messages: say("User", "secret")}, "Messages", invalid},
		{"late system", req{Messages: say("user", "secret", "system", "a", "user", "b")}, "Messages", invalid},
		{"assistant last", req{Messages: say("user", "a", "assistant", "secret")}, "Messages", invalid},
		{"system alone", req{Messages: say("system", "secret")}, "Messages", invalid},

		{"log-probabilities", req{LogProbs: true}, "", nil},
		{"most alternatives", req{LogProbs: true, TopLogProbs: inference.MaxTopLogProbs}, "", nil},
		{"too many alternatives", req{LogProbs: true, TopLogProbs: inference.MaxTopLogProbs + 1}, "TopLogProbs", invalid},
		{"negative alternatives", req{LogProbs: true, TopLogProbs: -1}, "TopLogProbs", invalid},
		{"alternatives alone", req{TopLogProbs: 1}, "TopLogProbs", invalid},

		{"longest scope", req{CacheScope: bytes(maxScope)}, "", nil},
		{"scope too long", req{CacheScope: bytes(maxScope + 1)}, "CacheScope", invalid},
		{"scope not UTF-8", req{CacheScope: "secret\xff"}, "CacheScope", invalid},

		{"prefix is all", req{Prompt: "n\u00e9", PublicPrefix: 3}, "", nil},
		{"prefix ends before a character", req{Prompt: "n\u00e9", PublicPrefix: 1}, "", nil},
		{"prefix ends in a character", req{Prompt: "n\u00e9", PublicPrefix: 2}, "PublicPrefix", invalid},
		{"prefix too long", req{Prompt: "n\u00e9", PublicPrefix: 4}, "PublicPrefix", invalid},
		{"prefix negative", req{Prompt: "n\u00e9", PublicPrefix: -1}, "PublicPrefix", invalid},
		{"prefix of nothing", req{PublicPrefix: 1}, "PublicPrefix", invalid},
		{"prefix of all messages", req{Messages: say("system", "\u00e9", "user", "b"), PublicPrefix: 2}, "", nil},
		{"prefix over messages", req{Messages: say("system", "long enough", "user", "b"), PublicPrefix: 3}, "PublicPrefix", invalid},
		{"prefix before messages", req{Messages: say("user", "b"), PublicPrefix: -1}, "PublicPrefix", invalid},

		{"grammar", req{Grammar: bytes(maxGrammar)}, "", nil},
		{"grammar too long", req{Grammar: bytes(maxGrammar + 1)}, "Grammar", invalid},
		{"grammar not UTF-8", req{Grammar: "secret\xff"}, "Grammar", invalid},
		{"schema", req{JSONSchema: bytes(maxGrammar)}, "", nil},
		{"schema too long", req{JSONSchema: bytes(maxGrammar + 1)}, "JSONSchema", invalid},
		{"schema not UTF-8", req{JSONSchema: "secret\xff"}, "JSONSchema", invalid},
		{"grammar and schema", req{Grammar: "secret", JSONSchema: "secret"}, "Grammar", invalid},
	} {
		err := tt.req.Validate()
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		var re *inference.RequestError
		if errors.As(err, &re) != (tt.field != "") || re != nil && re.Field != tt.field {
			t.Errorf("%s: %v, want field %q", tt.name, err, tt.field)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error quotes the request: %v", tt.name, err)
		}
	}
}
