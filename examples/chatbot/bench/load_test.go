package main

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

func TestQuantile(t *testing.T) {
	var all []time.Duration
	for i := range 100 {
		all = append(all, time.Duration(99-i))
	}
	for q, want := range map[float64]time.Duration{0: 0, 0.5: 50, 0.99: 99, 1: 99} {
		if got := quantile(all, q); got != want {
			t.Errorf("quantile %v: %d, want %d", q, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

// Every question is asked once, however many ask, and a failure is told.
func TestLoad(t *testing.T) {
	s := &settings{maxTokens: 64}
	asked := make(chan string, 100)
	model := inferencetest.New(inferencetest.Options{Answer: func(q string) string {
		asked <- q
		return "an answer"
	}})
	r, err := s.load(t.Context(), modelAskers(model, 3), 20)
	if err != nil || len(r.latency) != 20 || len(r.first) != 20 || r.tokens == 0 || r.rate() <= 0 {
		t.Errorf("%d answers, %d tokens, %v", len(r.latency), r.tokens, err)
	}
	seen := map[string]bool{}
	close(asked)
	for q := range asked {
		seen[q] = true
	}
	if len(seen) != 20 {
		t.Errorf("%d different questions", len(seen))
	}
	failure := errors.New("no")
	fails := func(context.Context, inference.Request) iter.Seq2[inference.Chunk, error] {
		return func(yield func(inference.Chunk, error) bool) { yield(inference.Chunk{}, failure) }
	}
	if _, err := s.load(t.Context(), []asker{fails}, 5); !errors.Is(err, failure) {
		t.Errorf("%v", err)
	}
}
