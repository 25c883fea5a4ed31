package llama_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

const (
	deductiblePrompt = "Question: what is my deductible\nAnswer:"
	deductibleAnswer = " Your individual deductible is $1,500 a year for in-network care."
)

// TestSpecialText sends what spells special tokens. It must arrive as
// characters: no token of it may be special (0 to 3 in this model).
func TestSpecialText(t *testing.T) {
	m := open(t, llama.Options{})
	for _, s := range []string{"</s>", "<pad>", "<s>a</s>", "<|im_start|>system", "[INST]"} {
		tokens, err := m.Tokenize(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		if len(tokens) < 2 || slices.ContainsFunc(tokens, func(k inference.Token) bool { return k < 4 }) {
			t.Errorf("%q became %v", s, tokens)
		}
	}
	// The same answer as without, if the model sees only a strange word.
	if _, err := generate(t, m, inference.Request{Prompt: "Question: </s> what is my deductible\nAnswer:"}); err != nil {
		t.Error(err)
	}
}

func TestStopStrings(t *testing.T) {
	m := open(t, llama.Options{})
	for _, stop := range []string{"individual", "ible is $1", "$1,5", " Your", "care."} {
		got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, Stop: []string{"no such", stop}})
		if err != nil {
			t.Fatal(err)
		}
		want, _, _ := strings.Cut(deductibleAnswer, stop)
		if got.text != want || got.reason != inference.FinishStopString {
			t.Errorf("stop %q: %q (%s), want %q", stop, got.text, got.reason, want)
		}
	}
}

func TestLimits(t *testing.T) {
	m := open(t, llama.Options{ContextSize: 256, MaxSequences: 2})
	if got := m.Info().MaxTokens; got != 256 {
		t.Fatalf("MaxTokens %d", got)
	}
	got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, MaxTokens: 3})
	if err != nil || got.reason != inference.FinishLength || len(got.tokens) != 3 || !strings.HasPrefix(deductibleAnswer, got.text) {
		t.Errorf("3 tokens: %+v %v", got, err)
	}
	// A prompt that leaves space for two tokens, and some for none. An
	// unknown word is one token per letter in this model.
	for _, tt := range []struct {
		prompt string
		err    error
	}{
		{strings.Repeat("a", 254), nil},
		{strings.Repeat("a", 256), inference.ErrPromptTooLong},
		{strings.Repeat("word ", 60_000), inference.ErrPromptTooLong},
	} {
		tokens, err := m.Tokenize(t.Context(), tt.prompt)
		if err != nil {
			t.Fatal(err)
		}
		got, err := generate(t, m, inference.Request{Prompt: tt.prompt})
		if !errors.Is(err, tt.err) {
			t.Errorf("prompt of %d tokens: %v", len(tokens), err)
		}
		if err == nil && (got.usage.PromptTokens != 254 || got.usage.GeneratedTokens > 2) {
			t.Errorf("prompt of %d tokens: %+v", len(tokens), got.usage)
		}
	}
	for _, req := range []inference.Request{
		{Prompt: strings.Repeat("a", 100_000)}, // ends the process if libllama sees it
		{Prompt: "\xff"},
		{Prompt: "a", Temperature: float32(math.NaN())},
		{Prompt: "a", Stop: []string{""}},
		{Prompt: "a", MaxTokens: -1},
	} {
		if _, err := generate(t, m, req); !errors.Is(err, inference.ErrInvalidRequest) {
			t.Errorf("%.20q: %v", req.Prompt, err)
		}
	}
}

func TestSampling(t *testing.T) {
	m := open(t, llama.Options{})
	sample := func(seed uint32) string {
		got, err := generate(t, m, inference.Request{
			Prompt: "Question:", Temperature: 1.5, TopK: 50, TopP: 0.98, MinP: 0.001,
			RepeatPenalty: 1.1, Seed: seed, MaxTokens: 24,
		})
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.ValidString(got.text) {
			t.Errorf("seed %d: not UTF-8", seed)
		}
		return got.text
	}
	seen := map[string]bool{}
	for _, seed := range []uint32{0, 1, 2, 3, math.MaxUint32} {
		first := sample(seed)
		if second := sample(seed); second != first {
			t.Errorf("seed %d: %q, then %q", seed, first, second)
		}
		seen[first] = true
	}
	if len(seen) < 2 {
		t.Error("all seeds give the same text")
	}
	// Temperatures that would make logits overflow are greedy.
	for _, cold := range []float32{1e-45, 1e-38, 1e-7} {
		if got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, Temperature: cold}); err != nil || got.text != deductibleAnswer {
			t.Errorf("temperature %g: %q %v", cold, got.text, err)
		}
	}
	got, err := generate(t, m, inference.BlogPreset(inference.Request{Prompt: deductiblePrompt}))
	if err != nil || len(got.tokens) > 20 {
		t.Errorf("blog preset: %+v %v", got, err)
	}
}

// TestOverload fills slots and queue; the next request is refused at once,
// and those that were accepted are answered.
func TestOverload(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 1, QueueLimit: 1})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	long := inference.Request{Prompt: "Question:", Temperature: 10, MaxTokens: 1 << 30}
	var wg sync.WaitGroup
	overloaded := make(chan struct{})
	var once sync.Once
	for range 8 {
		wg.Go(func() {
			for _, err := range m.Generate(ctx, long) {
				switch {
				case errors.Is(err, inference.ErrOverloaded):
					once.Do(func() { close(overloaded) })
				case err != nil && !errors.Is(err, context.Canceled):
					t.Error(err)
				}
			}
		})
	}
	answered := make(chan struct{})
	go func() {
		wg.Wait()
		close(answered)
	}()
	select {
	case <-overloaded:
	case <-answered:
		t.Error("eight requests were accepted where there is space for two")
	}
	cancel()
	<-answered
	got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt})
	if err != nil || got.text != deductibleAnswer {
		t.Errorf("afterwards: %q %v", got.text, err)
	}
}

// TestLeave ends requests in each way that there is, beside one that goes on.
func TestLeave(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 2})
	var wg sync.WaitGroup
	wg.Go(func() {
		for range 10 {
			if got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt}); err != nil || got.text != deductibleAnswer {
				t.Errorf("beside others: %q %v", got.text, err)
			}
		}
	})
	for range 10 {
		for _, err := range m.Generate(t.Context(), inference.Request{Prompt: "Question: leave\nAnswer:"}) {
			if err != nil {
				t.Error(err)
			}
			break
		}
		ctx, cancel := context.WithCancel(t.Context())
		n := 0
		for _, err := range m.Generate(ctx, inference.Request{Prompt: "a b c", Temperature: 10, MaxTokens: 1 << 20}) {
			if n++; n == 2 {
				cancel()
			}
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		cancel()
		for _, err := range m.Generate(ctx, inference.Request{Prompt: "a"}) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("ended context: %v", err)
			}
		}
	}
	wg.Wait()
}

func TestClose(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 1})
	var wg sync.WaitGroup
	started := make(chan struct{}, 3)
	for range 3 {
		wg.Go(func() {
			var last error
			for _, err := range m.Generate(t.Context(), inference.Request{Prompt: "Question:", Temperature: 10, MaxTokens: 1 << 30}) {
				last = err
				select {
				case started <- struct{}{}:
				default:
				}
			}
			// The sampled text can end by itself or fill the context before.
			if last != nil && !errors.Is(last, inference.ErrClosed) {
				t.Error(last)
			}
		})
	}
	<-started
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if _, err := generate(t, m, inference.Request{Prompt: "a"}); !errors.Is(err, inference.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := m.Tokenize(t.Context(), "a"); !errors.Is(err, inference.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// TestCanary reuses one slot: what came before must not change an answer.
func TestCanary(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 1})
	canary := inference.Request{Prompt: "Question: i can't access my email, my username is zorbaquin\nAnswer:"}
	probe := inference.Request{Prompt: "Question: i can't access my email, my username is", MaxTokens: 32}
	alone, err := generate(t, m, probe)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got, err := generate(t, m, canary); err != nil || !strings.Contains(got.text, "zorbaquin") {
			t.Fatalf("the canary does not sing: %q %v", got.text, err)
		}
		got, err := generate(t, m, probe)
		if err != nil {
			t.Fatal(err)
		}
		if got.text != alone.text || strings.Contains(got.text, "zorba") {
			t.Errorf("%q after the canary, %q alone", got.text, alone.text)
		}
	}
}
