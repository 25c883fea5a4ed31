package llama_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// longPrompt takes a step of many seconds, if nobody stops it.
func longPrompt() inference.Request {
	return inference.Request{Prompt: strings.Repeat("what is my deductible ", 600), CacheScope: "a"}
}

func longOptions() llama.Options {
	return llama.Options{MaxSequences: 2, ContextSize: 4096, BatchSize: 4096}
}

// running waits until n requests run.
func running(t *testing.T, m *llama.Model, n int) {
	t.Helper()
	for s := m.Stats(); s.Running != n; s = m.Stats() {
		if s.Waiting == 0 && s.Requests > 0 && s.Running == 0 {
			t.Fatalf("all requests are over: %+v", s)
		}
		runtime.Gosched()
	}
}

// TestCancelAbortsStep cancels a request whose prompt is one long step. The
// step ends early: its tokens are never counted as computed, nothing of it is
// kept, and the next request is answered.
func TestCancelAbortsStep(t *testing.T) {
	m := open(t, longOptions())
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for _, err := range m.Generate(ctx, longPrompt()) {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
		}
	})
	running(t, m, 1)
	cancel()
	wg.Wait()
	running(t, m, 0)
	s := m.Stats()
	if s.PromptTokens != 0 || s.Cancelled != 1 || s.Prefixes != 0 {
		t.Errorf("after an aborted step: %+v", s)
	}
	if got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt}); err != nil || got.text != deductibleAnswer {
		t.Errorf("afterwards: %q %v", got.text, err)
	}
}

// TestCancelSparesOthers cancels one of two requests in a step: the step goes
// on for the other one, whose work is not lost.
func TestCancelSparesOthers(t *testing.T) {
	opts := longOptions()
	opts.PrefillChunk = 64
	m := open(t, opts)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan struct{})
	var once sync.Once
	var wg sync.WaitGroup
	wg.Go(func() {
		var text strings.Builder
		for c, err := range m.Generate(t.Context(), inference.Request{Prompt: deductiblePrompt}) {
			if err != nil {
				t.Error(err)
			}
			text.WriteString(c.Text)
			once.Do(func() { close(first) })
		}
		if text.String() != deductibleAnswer {
			t.Errorf("beside a cancelled request: %q", text.String())
		}
	})
	<-first
	wg.Go(func() {
		for _, err := range m.Generate(ctx, longPrompt()) {
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	for s := m.Stats(); s.Requests != 2 || s.Waiting != 0; s = m.Stats() {
		runtime.Gosched()
	}
	cancel()
	wg.Wait()
}

// TestCloseAbortsStep closes the model in the middle of a long step.
func TestCloseAbortsStep(t *testing.T) {
	m := open(t, longOptions())
	var wg sync.WaitGroup
	for range 4 { // one runs, or two; the others wait
		wg.Go(func() {
			for _, err := range m.Generate(t.Context(), longPrompt()) {
				if !errors.Is(err, inference.ErrClosed) {
					t.Errorf("closed: %v", err)
				}
			}
		})
	}
	for m.Stats().Running == 0 {
		runtime.Gosched()
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
	if s := m.Stats(); s.PromptTokens != 0 || s.Running != 0 || s.Waiting != 0 || s.Failed != s.Requests {
		t.Errorf("after Close: %+v", s)
	}
	m.Forget("a") // returns
}

// TestForgetRunning forgets a scope while a request of it runs and another one
// waits: both are answered, and leave nothing.
func TestForgetRunning(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 1})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for _, err := range m.Generate(t.Context(), inference.Request{Prompt: deductiblePrompt, CacheScope: "a"}) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	for s := m.Stats(); s.Running != 1 || s.Requests != 2; s = m.Stats() {
		if s.Finished > 0 {
			break // too late for the first one
		}
		runtime.Gosched()
	}
	waiting := m.Stats().Waiting
	m.Forget("a")
	wg.Wait()
	if s := m.Stats(); waiting == 1 && s.Prefixes != 0 {
		t.Errorf("something is left: %+v", s)
	}
}

// TestCloseWhileBusy closes a model among calls of Generate, Forget and
// Tokenize: all of them return.
func TestCloseWhileBusy(t *testing.T) {
	for range 5 {
		m := open(t, llama.Options{MaxSequences: 2})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					_, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, MaxTokens: 2, CacheScope: "a"})
					if errors.Is(err, inference.ErrClosed) {
						return
					}
					if err != nil && !errors.Is(err, inference.ErrOverloaded) {
						t.Error(err)
						return
					}
					m.Forget("a")
				}
			})
		}
		for m.Stats().Finished < 4 {
			runtime.Gosched()
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		m.Forget("a")
		wg.Wait()
		if s := m.Stats(); s.Waiting != 0 || s.Running != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// TestOnRequest compares what the hook is told with what happened.
func TestOnRequest(t *testing.T) {
	var told []llama.RequestStats
	m := open(t, llama.Options{MaxNewTokens: 64, OnRequest: func(r llama.RequestStats) { told = append(told, r) }})
	last := func() llama.RequestStats {
		t.Helper()
		if len(told) != 1 {
			t.Fatalf("told %d times", len(told))
		}
		r := told[0]
		told = nil
		return r
	}
	got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, MaxTokens: 1000, Grammar: `root ::= "a"{1000}`})
	if err != nil || len(got.tokens) != 64 || last().GeneratedTokens != 64 {
		t.Fatalf("MaxNewTokens: %+v %v", got, err)
	}
	if got, err = generate(t, m, inference.Request{Prompt: deductiblePrompt, MaxTokens: 3, CacheScope: "a"}); err != nil {
		t.Fatal(err)
	}
	r := last()
	if r.Err != nil || r.FinishReason != inference.FinishLength || r.PromptTokens != got.usage.PromptTokens || r.GeneratedTokens != 3 || r.CachedTokens != 0 {
		t.Errorf("%+v", r)
	}
	if r.Queued < 0 || r.FirstToken <= 0 || r.Queued > r.FirstToken || r.FirstToken > r.Total {
		t.Errorf("times of %+v", r)
	}
	if got, err = generate(t, m, inference.Request{Prompt: deductiblePrompt, CacheScope: "a"}); err != nil {
		t.Fatal(err)
	}
	if r := last(); r.CachedTokens != got.usage.CachedTokens || r.CachedTokens == 0 {
		t.Errorf("%+v for %+v", r, got.usage)
	}
	// A long answer, so that it has not finished before the loop is left; on a
	// machine that stops for a while it may have all the same.
	left := uint64(0)
	for {
		left++
		for range m.Generate(t.Context(), inference.Request{Prompt: deductiblePrompt, Grammar: `root ::= "a"{1000}`}) {
			break
		}
		r := last()
		if r.FinishReason != "" && r.Err == nil && left < 10 {
			continue
		}
		if !errors.Is(r.Err, context.Canceled) || r.FinishReason != "" {
			t.Errorf("left: %+v", r)
		}
		break
	}
	_, _ = generate(t, m, inference.Request{Prompt: "\xff"})
	if r := last(); !errors.Is(r.Err, inference.ErrInvalidRequest) || r.PromptTokens != 0 || r.FirstToken != 0 {
		t.Errorf("invalid: %+v", r)
	}
	running(t, m, 0)
	if s := m.Stats(); s.Requests != 3+left || s.Cancelled != 1 || s.Finished != 2+left || s.Steps == 0 || s.StepTime <= 0 {
		t.Errorf("%+v", s)
	}
}
