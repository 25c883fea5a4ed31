package llama_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// TestCachedParity asks everything twice in one scope: what the second request
// takes over must not change its answer.
func TestCachedParity(t *testing.T) {
	o := loadOracle(t)
	m := open(t, llama.Options{})
	for _, p := range o.Prompts {
		for i := range 2 {
			got, err := generate(t, m, inference.Request{Prompt: p.Prompt, MaxTokens: o.Limit, CacheScope: "a"})
			if err != nil {
				t.Fatalf("%s: %v", p.Name, err)
			}
			p.check(t, p.F32, got)
			if cached := got.usage.CachedTokens; i == 1 && len(p.IDs) > 4 && cached != len(p.IDs)-1 {
				t.Errorf("%s: %d of %d tokens cached", p.Name, cached, len(p.IDs))
			}
		}
	}
	if s := m.Stats(); s.Prefixes == 0 || s.PrefixTokens == 0 || s.CachedTokens == 0 {
		t.Errorf("%+v", s)
	}
}

// TestConversation continues an answer: prompt and answer are taken over.
func TestConversation(t *testing.T) {
	m := open(t, llama.Options{})
	plain, err := generate(t, m, inference.Request{Prompt: deductiblePrompt + deductibleAnswer + "\nQuestion: and my copay\nAnswer:"})
	if err != nil {
		t.Fatal(err)
	}
	first, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, CacheScope: "s"})
	if err != nil {
		t.Fatal(err)
	}
	second, err := generate(t, m, inference.Request{Prompt: deductiblePrompt + first.text + "\nQuestion: and my copay\nAnswer:", CacheScope: "s"})
	if err != nil {
		t.Fatal(err)
	}
	if second.text != plain.text {
		t.Errorf("%q, without the cache %q", second.text, plain.text)
	}
	// The model may have chosen other tokens than the tokenizer would.
	have, err1 := m.Tokenize(t.Context(), deductiblePrompt)
	again, err2 := m.Tokenize(t.Context(), deductiblePrompt+first.text+"\nQuestion: and my copay\nAnswer:")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	have = append(have, first.tokens...)
	want := 0
	for want < len(have) && have[want] == again[want] {
		want++
	}
	if got := second.usage.CachedTokens; got != want || want < first.usage.PromptTokens+3 {
		t.Errorf("%d tokens cached of %d in common", got, want)
	}
}

// TestScopes checks who may reuse what.
func TestScopes(t *testing.T) {
	public := strings.Repeat("Question: what is my deductible\n", 4)
	alone, err := generate(t, open(t, llama.Options{}), inference.Request{Prompt: public + deductiblePrompt})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name          string
		first, second inference.Request
		between       func(*llama.Model)
		opts          llama.Options
		cached        bool
	}{
		{name: "same scope", first: inference.Request{CacheScope: "a"}, second: inference.Request{CacheScope: "a"}, cached: true},
		{name: "another scope", first: inference.Request{CacheScope: "a"}, second: inference.Request{CacheScope: "b"}},
		{name: "no scope after one", first: inference.Request{CacheScope: "a"}},
		{name: "a scope after none", second: inference.Request{CacheScope: "a"}},
		{name: "no scopes"},
		{name: "public", first: inference.Request{PublicPrefix: len(public)}, cached: true},
		{name: "public to a scope", first: inference.Request{PublicPrefix: len(public), CacheScope: "a"}, second: inference.Request{CacheScope: "b"}, cached: true},
		{name: "announced as public too late", second: inference.Request{PublicPrefix: len(public)}},
		{
			name: "forgotten", first: inference.Request{CacheScope: "a"}, second: inference.Request{CacheScope: "a"},
			between: func(m *llama.Model) { m.Forget("a") },
		},
		{
			name: "another forgotten", first: inference.Request{CacheScope: "a"}, second: inference.Request{CacheScope: "a"},
			between: func(m *llama.Model) { m.Forget("b"); m.Forget("") }, cached: true,
		},
		{
			name: "expired", first: inference.Request{CacheScope: "a"}, second: inference.Request{CacheScope: "a"},
			opts: llama.Options{CacheTTL: time.Nanosecond},
		},
		{
			name: "nothing is kept", first: inference.Request{CacheScope: "a", PublicPrefix: len(public)}, second: inference.Request{CacheScope: "a"},
			opts: llama.Options{CacheSequences: -1},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t, tt.opts)
			tt.first.Prompt, tt.second.Prompt = public+deductiblePrompt, public+deductiblePrompt
			if _, err := generate(t, m, tt.first); err != nil {
				t.Fatal(err)
			}
			if tt.between != nil {
				tt.between(m)
			}
			got, err := generate(t, m, tt.second)
			if err != nil || got.text != alone.text {
				t.Fatalf("%q %v, alone %q", got.text, err, alone.text)
			}
			if cached := got.usage.CachedTokens; (cached > 0) != tt.cached {
				t.Errorf("%d tokens cached", cached)
			}
		})
	}
}

// TestSharedWhileRunning starts requests together that begin alike: the
// beginning is computed once, by the first, and the others wait for it.
func TestSharedWhileRunning(t *testing.T) {
	const n = 6
	prefix := strings.Repeat("Question: what is my deductible\nAnswer:"+deductibleAnswer+"\n", 8)
	alone, err := generate(t, open(t, llama.Options{}), inference.Request{Prompt: prefix + deductiblePrompt})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(m *llama.Model, scope string, public int, cancelFirst bool) llama.Stats {
		t.Helper()
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				req := inference.Request{Prompt: prefix + deductiblePrompt, CacheScope: scope, PublicPrefix: public}
				if cancelFirst && i == 0 {
					for _, err := range m.Generate(t.Context(), req) {
						if err != nil {
							t.Error(err)
						}
						break
					}
					return
				}
				if got, err := generate(t, m, req); err != nil || got.text != alone.text {
					t.Errorf("%q %v, alone %q", got.text, err, alone.text)
				}
			})
		}
		wg.Wait()
		return m.Stats()
	}
	// Small steps, so that the others arrive while the first one reads.
	opts := llama.Options{MaxSequences: n, BatchSize: 32}
	plain := ask(open(t, opts), "", 0, false)
	if plain.CachedTokens != 0 || plain.Prefixes != 0 {
		t.Errorf("without a scope: %+v", plain)
	}
	for _, s := range []llama.Stats{
		ask(open(t, opts), "a", 0, false),
		ask(open(t, opts), "", len(prefix), false),
		ask(open(t, opts), "a", 0, true),
	} {
		if s.PromptTokens > plain.PromptTokens*2/n || s.PromptTokens+s.CachedTokens != plain.PromptTokens {
			t.Errorf("%d tokens computed and %d shared, %d without sharing", s.PromptTokens, s.CachedTokens, plain.PromptTokens)
		}
	}
}

// TestLeaderEnds cancels the request whose beginning others wait for, in the
// middle of its prompt: they take over what there is and compute the rest.
func TestLeaderEnds(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 3, BatchSize: 16})
	prompt := strings.Repeat("Question: what is my deductible\nAnswer:"+deductibleAnswer+"\n", 8) + deductiblePrompt
	alone, err := generate(t, m, inference.Request{Prompt: prompt})
	if err != nil {
		t.Fatal(err)
	}
	before := m.Stats()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, err := range m.Generate(ctx, inference.Request{Prompt: prompt, CacheScope: "a"}) {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	for m.Stats().Requests == before.Requests {
		runtime.Gosched()
	}
	for range 2 {
		wg.Go(func() {
			if got, err := generate(t, m, inference.Request{Prompt: prompt, CacheScope: "a"}); err != nil || got.text != alone.text {
				t.Errorf("%q %v, alone %q", got.text, err, alone.text)
			}
		})
	}
	for s := m.Stats(); s.Requests < before.Requests+3 || s.PromptTokens < before.PromptTokens+40; s = m.Stats() {
		runtime.Gosched()
	}
	cancel()
	wg.Wait()
	if s := m.Stats(); s.CachedTokens == before.CachedTokens {
		t.Errorf("nothing was taken over: %+v", s)
	}
}

// TestTurns lets more scopes take turns than there are sequences: with enough
// of them each goes on from what it said, else the ones that waited longest
// begin anew. Every answer is right.
func TestTurns(t *testing.T) {
	for _, tt := range []struct {
		extra  int
		cached bool
	}{{0, false}, {2, true}} {
		m := open(t, llama.Options{MaxSequences: 1, CacheSequences: tt.extra})
		for turn := range 2 {
			for _, scope := range []string{"a", "b", "c"} {
				got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, CacheScope: scope})
				if err != nil || got.text != deductibleAnswer {
					t.Errorf("%q %v", got.text, err)
				}
				if cached := got.usage.CachedTokens > 0; cached != (tt.cached && turn > 0) {
					t.Errorf("%d more sequences, turn %d of %s: %d tokens cached", tt.extra, turn, scope, got.usage.CachedTokens)
				}
			}
		}
		if s := m.Stats(); s.Prefixes != 1+tt.extra || s.Running != 0 || s.Finished != 6 {
			t.Errorf("%+v", s)
		}
	}
}
