package inferencetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

func collect(m inference.Model, ctx context.Context, req inference.Request) (string, inference.FinishReason, error) {
	var b strings.Builder
	var reason inference.FinishReason
	for c, err := range m.Generate(ctx, req) {
		if err != nil {
			return "", "", err
		}
		b.WriteString(c.Text)
		reason = c.FinishReason
	}
	return b.String(), reason, nil
}

func TestModel(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{MaxTokens: 100})
	for _, tt := range []struct {
		req    inference.Request
		text   string
		reason inference.FinishReason
		err    error
	}{
		{inference.Request{Prompt: "né"}, " You said: né", inference.FinishStop, nil},
		{inference.Request{Prompt: "né", MaxTokens: 4}, " You", inference.FinishLength, nil},
		{inference.Request{Prompt: "né", Stop: []string{"said", "ou"}}, " Y", inference.FinishStopString, nil},
		{inference.Request{Prompt: "né", MaxTokens: -1}, "", "", inference.ErrInvalidRequest},
		{inference.Request{Prompt: strings.Repeat("x", 100)}, "", "", inference.ErrPromptTooLong},
	} {
		text, reason, err := collect(m, t.Context(), tt.req)
		if text != tt.text || reason != tt.reason || !errors.Is(err, tt.err) {
			t.Errorf("%.20q: %q %q %v", tt.req.Prompt, text, reason, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for _, err := range m.Generate(ctx, inference.Request{Prompt: "a"}) {
		cancel()
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, _, err := collect(m, t.Context(), inference.Request{Prompt: "a"}); !errors.Is(err, inference.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestMessages(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{MaxTokens: 100})
	say := func(contents ...string) []inference.Message {
		list := []inference.Message{{Role: inference.RoleSystem, Content: contents[0]}}
		for _, c := range contents[1:] {
			list = append(list, inference.Message{Role: inference.RoleUser, Content: c})
		}
		return list
	}
	for _, tt := range []struct {
		req    inference.Request
		prompt int
		text   string
		err    error
	}{
		{inference.Request{Messages: say("be kind", "a", "n\u00e9")}, 10, " You said: n\u00e9", nil},
		{inference.Request{Messages: say("be kind", ""), CacheScope: "s", PublicPrefix: 1, JSONSchema: "{}"}, 7, " You said: ", nil},
		{inference.Request{Messages: say("be kind", "a"), Prompt: "b"}, 0, "", inference.ErrInvalidRequest},
		{inference.Request{Messages: say("be kind")}, 0, "", inference.ErrInvalidRequest},
		{inference.Request{Messages: say(strings.Repeat("x", 99), "a")}, 0, "", inference.ErrPromptTooLong},
	} {
		text, _, err := collect(m, t.Context(), tt.req)
		if text != tt.text || !errors.Is(err, tt.err) {
			t.Errorf("%d messages: %q %v", len(tt.req.Messages), text, err)
		}
		var re *inference.RequestError
		if errors.As(err, &re) && re.Field != "Messages" {
			t.Errorf("the error names %s", re.Field)
		}
		for c, err := range m.Generate(t.Context(), tt.req) {
			if err == nil && c.Usage != nil && c.Usage.PromptTokens != tt.prompt {
				t.Errorf("%d messages have %d tokens, want %d", len(tt.req.Messages), c.Usage.PromptTokens, tt.prompt)
			}
		}
	}
}

func TestLogProbs(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{Answer: func(string) string { return "n\u00e9" }})
	for _, tt := range []struct {
		on  bool
		top int
	}{{false, 0}, {true, 0}, {true, 3}} {
		var got []string
		for c, err := range m.Generate(t.Context(), inference.Request{Prompt: "a", LogProbs: tt.on, TopLogProbs: tt.top}) {
			if err != nil {
				t.Fatal(err)
			}
			if want := len(c.Tokens); tt.on && len(c.LogProbs) != want || !tt.on && c.LogProbs != nil {
				t.Errorf("%+v: %d log-probabilities for %d tokens", tt, len(c.LogProbs), want)
			}
			for i, p := range c.LogProbs {
				if p.Token != c.Tokens[i] || p.LogProb.LogProb != 0 || len(p.Top) != min(tt.top, 1) {
					t.Errorf("%+v: %+v for token %d", tt, p, c.Tokens[i])
				}
				got = append(got, string(p.Bytes))
			}
		}
		if want := map[bool]string{true: "n,\u00e9"}[tt.on]; strings.Join(got, ",") != want {
			t.Errorf("%+v: the tokens' bytes are %q", tt, got)
		}
	}
}

func TestOverloaded(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{MaxConcurrent: 1})
	for _, err := range m.Generate(t.Context(), inference.Request{Prompt: "a"}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := collect(m, t.Context(), inference.Request{Prompt: "b"}); !errors.Is(err, inference.ErrOverloaded) {
			t.Errorf("a second one: %v", err)
		}
		break
	}
	if _, _, err := collect(m, t.Context(), inference.Request{Prompt: "b"}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func Example() {
	m := inferencetest.New(inferencetest.Options{Answer: func(string) string { return "42" }})
	defer m.Close()
	for chunk, err := range m.Generate(context.Background(), inference.Request{Prompt: "what is it?"}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(chunk.Text)
	}
	fmt.Println()
	// Output: 42
}
