package llama_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

func embed(t *testing.T, m *llama.Model, texts ...string) [][]float32 {
	t.Helper()
	got, err := m.Embed(t.Context(), texts)
	if err != nil || len(got) != len(texts) {
		t.Fatalf("%d vectors for %d texts, %v", len(got), len(texts), err)
	}
	return got
}

// dot is the cosine of vectors of unit length.
func dot(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestEmbed(t *testing.T) {
	m := open(t, llama.Options{Embeddings: true})
	texts := []string{"what is my deductible", "how much is the deductible", "my laptop screen is broken", "\u00e9"}
	got := embed(t, m, texts...)
	for i, v := range got {
		if len(v) != 192 {
			t.Fatalf("%d dimensions", len(v))
		}
		if d := dot(v, v); math.Abs(d-1) > 1e-5 {
			t.Errorf("%q has the length %v", texts[i], math.Sqrt(d))
		}
		// Neither what came before nor what stands beside it changes it.
		if again := embed(t, m, texts[i])[0]; !slices.Equal(again, v) {
			t.Errorf("%q: not the same again", texts[i])
		}
	}
	if like, unlike := dot(got[0], got[1]), dot(got[0], got[2]); like <= unlike {
		t.Errorf("like sentences have %.3f in common, others %.3f", like, unlike)
	}
	turned := slices.Clone(texts)
	slices.Reverse(turned)
	back := embed(t, m, turned...)
	slices.Reverse(back)
	for i := range got {
		if !slices.Equal(got[i], back[i]) {
			t.Errorf("%q: the order of texts changes it", texts[i])
		}
	}
	if none := embed(t, m); len(none) != 0 {
		t.Errorf("no texts: %v", none)
	}
}

func TestEmbedRefuses(t *testing.T) {
	if _, err := open(t, llama.Options{}).Embed(t.Context(), []string{"a"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("not asked for: %v", err)
	}
	m := open(t, llama.Options{Embeddings: true, ContextSize: 256, BatchSize: 64})
	const secret = "zorbaquin "
	for _, tt := range []struct {
		name  string
		texts []string
		err   error
	}{
		{"longest", []string{strings.Repeat("a", 64)}, nil},
		{"too long", []string{"a", strings.Repeat("a", 65)}, inference.ErrPromptTooLong},
		{"far too long", []string{strings.Repeat(secret, 50_000)}, inference.ErrPromptTooLong},
		{"too long together", slices.Repeat([]string{strings.Repeat(secret, 1000)}, 200), inference.ErrPromptTooLong},
		{"empty", []string{secret, ""}, inference.ErrInvalidRequest},
		{"not UTF-8", []string{secret + "\xff"}, inference.ErrInvalidRequest},
		{"too many", slices.Repeat([]string{"a"}, 2049), inference.ErrInvalidRequest},
		{"a long word", []string{strings.Repeat("a", 100_000)}, inference.ErrInvalidRequest},
	} {
		got, err := m.Embed(t.Context(), tt.texts)
		if !errors.Is(err, tt.err) || err != nil && got != nil {
			t.Errorf("%s: %d vectors, %v", tt.name, len(got), err)
		}
		var re *inference.RequestError
		if err != nil && (!errors.As(err, &re) || re.Field != "texts" || strings.Contains(err.Error(), "zorba")) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Embed(ctx, []string{"a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Embed(t.Context(), []string{"a"}); !errors.Is(err, inference.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestEmbedBesideGenerate has answers and embeddings at the same time: each is
// as if alone.
func TestEmbedBesideGenerate(t *testing.T) {
	m := open(t, llama.Options{Embeddings: true})
	texts := []string{"what is my deductible", "my laptop is broken", "who are you"}
	alone := embed(t, m, texts...)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 3 {
				got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt})
				if err != nil || got.text != deductibleAnswer {
					t.Errorf("%q %v", got.text, err)
				}
			}
		})
		wg.Go(func() {
			for range 5 {
				got, err := m.Embed(t.Context(), texts)
				if err != nil || !slices.EqualFunc(got, alone, slices.Equal[[]float32]) {
					t.Errorf("not the same: %v", err)
				}
			}
		})
	}
	wg.Wait()
}

// TestEmbedClose closes the model under calls: each ends with a result or with
// ErrClosed.
func TestEmbedClose(t *testing.T) {
	m := open(t, llama.Options{Embeddings: true})
	texts := slices.Repeat([]string{"what is my deductible"}, 200)
	started := make(chan struct{}, 8)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				got, err := m.Embed(t.Context(), texts[:1])
				if err == nil {
					started <- struct{}{}
					got, err = m.Embed(t.Context(), texts)
				}
				if errors.Is(err, inference.ErrClosed) && got == nil {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	<-started
	go func() {
		for range started {
		}
	}()
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	close(started)
}

// TestEmbedOverload fills the queue; what was accepted is answered.
func TestEmbedOverload(t *testing.T) {
	m := open(t, llama.Options{Embeddings: true, QueueLimit: 1})
	texts := slices.Repeat([]string{"what is my deductible"}, 300)
	var wg sync.WaitGroup
	var mu sync.Mutex
	refused, answered := 0, 0
	for range 6 {
		wg.Go(func() {
			got, err := m.Embed(t.Context(), texts)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case errors.Is(err, inference.ErrOverloaded) && got == nil:
				refused++
			case err != nil || len(got) != len(texts):
				t.Errorf("%d vectors, %v", len(got), err)
			default:
				answered++
			}
		})
	}
	wg.Wait()
	if answered < 1 || refused < 1 {
		t.Errorf("%d answered, %d refused", answered, refused)
	}
}
