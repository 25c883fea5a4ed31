package inferencetest_test

import (
	"context"
	"errors"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-inferencetest.md.
func TestBadInput(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	model, closed := inferencetest.New(inferencetest.Options{MaxTokens: -1}), inferencetest.New(inferencetest.Options{})
	small := inferencetest.New(inferencetest.Options{MaxTokens: 5})
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	errOwn := errors.New("own")
	fails := inferencetest.New(inferencetest.Options{Step: func(context.Context) error { return errOwn }})
	generate := func(m *inferencetest.Model, req inference.Request) func(context.Context) error {
		return func(ctx context.Context) error { return generateIn(ctx, m, req) }
	}
	tokenize := func(m *inferencetest.Model, text string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := m.Tokenize(ctx, text)
			return err
		}
	}
	ended := badinput.Own("context.Canceled", context.Canceled)
	invalid := badinput.Is("inference.ErrInvalidRequest", inference.ErrInvalidRequest)
	after := badinput.Is("inference.ErrClosed", inference.ErrClosed)
	badinput.Table{
		Package: "inference/inferencetest",
		Prefix:  "inference: ",
		Cases: []badinput.Case{
			badinput.Value("New", "a MaxTokens below 0", "it is 4,096, as for 0", func() bool { return model.Info().MaxTokens == 4096 }),
			badinput.On("Model.Generate", "a request that is invalid", invalid, generate(model, inference.Request{Prompt: badinput.Canary + "\xff"})),
			badinput.On("Model.Generate", "a prompt longer than the context", badinput.Is("inference.ErrPromptTooLong", inference.ErrPromptTooLong),
				generate(small, inference.Request{Prompt: "a longer prompt"})),
			badinput.On("Model.Generate", "a Step that fails", badinput.Own("its error", errOwn), generate(fails, inference.Request{Prompt: "x"})),
			badinput.On("Model.Generate", "a context that has ended", ended, func(context.Context) error { return generateIn(gone, model, inference.Request{Prompt: "x"}) }),
			badinput.On("Model.Generate", "a closed Model", after, generate(closed, inference.Request{Prompt: "x"})),
			badinput.On("Model.Tokenize", "text that is not UTF-8", invalid, tokenize(model, badinput.Canary+"\xff")),
			badinput.On("Model.Tokenize", "a context that has ended", ended, func(context.Context) error { return tokenize(model, "x")(gone) }),
			badinput.On("Model.Tokenize", "a closed Model", after, tokenize(closed, "x")),
			badinput.On("Model.Close", "a closed Model", badinput.Ignored("closing twice is fine"), func(context.Context) error { return closed.Close() }),
		},
		NoInput: []string{"Echo (any text)", "Model.Info"},
	}.Run(t)
}

func generateIn(ctx context.Context, m *inferencetest.Model, req inference.Request) error {
	for _, err := range m.Generate(ctx, req) {
		if err != nil {
			return err
		}
	}
	return nil
}
