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
