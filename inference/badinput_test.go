package inference_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference.md.
func TestBadInput(t *testing.T) {
	invalid := badinput.Both(badinput.As[*inference.RequestError](), badinput.Is("inference.ErrInvalidRequest", inference.ErrInvalidRequest))
	tooLong := badinput.Both(badinput.As[*inference.RequestError](), badinput.Is("inference.ErrPromptTooLong", inference.ErrPromptTooLong))
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	user := inference.Message{Role: inference.RoleUser, Content: "hello"}
	var cases []badinput.Case
	for _, c := range []struct {
		input string
		want  badinput.Outcome
		req   inference.Request
	}{
		{"a prompt over MaxPromptBytes", tooLong, inference.Request{Prompt: strings.Repeat("x", inference.MaxPromptBytes+1)}},
		{"a prompt that is not UTF-8", invalid, inference.Request{Prompt: badinput.Canary + "\xff"}},
		{"a prompt and messages", invalid, inference.Request{Prompt: badinput.Canary, Messages: []inference.Message{user}}},
		{"257 messages", invalid, inference.Request{Messages: slices.Repeat([]inference.Message{user}, inference.MaxMessages+1)}},
		{"a message of a role with a newline", invalid, inference.Request{Messages: []inference.Message{{Role: "tool\n" + badinput.Canary}}}},
		{"a message that is not UTF-8", invalid, inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: "\xff"}}}},
		{"messages over MaxPromptBytes", tooLong, inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: strings.Repeat("x", inference.MaxPromptBytes+1)}}}},
		{"messages that end with the assistant's", invalid, inference.Request{Messages: []inference.Message{user, {Role: inference.RoleAssistant}}}},
		{"a system message behind another", invalid, inference.Request{Messages: []inference.Message{user, {Role: inference.RoleSystem}, user}}},
		{"MaxTokens of -1", invalid, inference.Request{MaxTokens: -1}},
		{"a Temperature of -1", invalid, inference.Request{Temperature: -1}},
		{"a Temperature that is no number", invalid, inference.Request{Temperature: nan}},
		{"an infinite Temperature", invalid, inference.Request{Temperature: inf}},
		{"TopK of -1", invalid, inference.Request{TopK: -1}},
		{"TopP of 2", invalid, inference.Request{TopP: 2}},
		{"TopP that is no number", invalid, inference.Request{TopP: nan}},
		{"MinP of -1", invalid, inference.Request{MinP: -1}},
		{"a RepeatPenalty of -1", invalid, inference.Request{RepeatPenalty: -1}},
		{"a RepeatWindow of 4,097", invalid, inference.Request{RepeatWindow: 4097}},
		{"too many stop strings", invalid, inference.Request{Stop: slices.Repeat([]string{"x"}, inference.MaxStopStrings+1)}},
		{"an empty stop string", invalid, inference.Request{Stop: []string{""}}},
		{"a stop string that is not UTF-8", invalid, inference.Request{Stop: []string{badinput.Canary + "\xff"}}},
		{"a grammar and a schema", invalid, inference.Request{Grammar: `root ::= "a"`, JSONSchema: "{}"}},
		{"a grammar over 64 KiB", invalid, inference.Request{Grammar: strings.Repeat("x", inference.MaxGrammarBytes+1)}},
		{"a schema that is not UTF-8", invalid, inference.Request{JSONSchema: "\xff"}},
		{"TopLogProbs of -1", invalid, inference.Request{LogProbs: true, TopLogProbs: -1}},
		{"TopLogProbs of 21", invalid, inference.Request{LogProbs: true, TopLogProbs: 21}},
		{"a CacheScope over 256 bytes", invalid, inference.Request{CacheScope: strings.Repeat("x", 257)}},
		{"a PublicPrefix of -1", invalid, inference.Request{PublicPrefix: -1}},
		{"a PublicPrefix longer than the prompt", invalid, inference.Request{Prompt: "x", PublicPrefix: 2}},
	} {
		cases = append(cases, badinput.On("Request.Validate", c.input, c.want, func(context.Context) error { return c.req.Validate() }))
	}
	badinput.Table{
		Package: "inference",
		Cases: append(cases,
			badinput.Value("BlogPreset", "a request that is invalid", "its prompt stays as it is; Validate says what is wrong", func() bool {
				req := inference.BlogPreset(inference.Request{Prompt: "\xff"})
				return req.Prompt == "\xff" && req.Validate() != nil
			})),
		NoInput: []string{"RequestError.Error", "RequestError.Unwrap"},
	}.Run(t)
}
