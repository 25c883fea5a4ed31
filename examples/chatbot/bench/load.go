package main

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/inference"
)

// asker answers one question, on whatever side.
type asker func(ctx context.Context, r inference.Request) iter.Seq2[inference.Chunk, error]

// pipelineAskers are clients of the pipeline, each with keys of its own.
func pipelineAskers(c *local.Cluster, n int) ([]asker, error) {
	var all []asker
	for range n {
		client, err := c.Client(nil, nil)
		if err != nil {
			return nil, err
		}
		all = append(all, func(ctx context.Context, r inference.Request) iter.Seq2[inference.Chunk, error] {
			return func(yield func(inference.Chunk, error) bool) {
				for chunk, err := range client.Ask(ctx, ask.Question{Request: r}) {
					if !yield(chunk.Chunk, err) {
						return
					}
				}
			}
		})
	}
	return all, nil
}

// modelAskers ask the model itself. Each has a cache scope of its own, as
// clients of the pipeline have.
func modelAskers(m inference.Model, n int) []asker {
	var all []asker
	for i := range n {
		all = append(all, func(ctx context.Context, r inference.Request) iter.Seq2[inference.Chunk, error] {
			r.CacheScope = fmt.Sprint("client ", i)
			return m.Generate(ctx, r)
		})
	}
	return all
}

// result is what one side did.
type result struct {
	latency, first []time.Duration
	tokens         int
	took           time.Duration
}

func (r *result) add(o result) {
	r.latency = append(r.latency, o.latency...)
	r.first = append(r.first, o.first...)
	r.tokens += o.tokens
	r.took += o.took
}

func (r *result) rate() float64 { return float64(r.tokens) / r.took.Seconds() }

func (r *result) quantile(q float64) time.Duration      { return quantile(r.latency, q) }
func (r *result) firstQuantile(q float64) time.Duration { return quantile(r.first, q) }

func quantile(all []time.Duration, q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func (r *result) print(clients int, side string) {
	fmt.Printf("| %d | %s | %.1f ms | %.1f ms | %.1f ms | %.0f |\n", clients, side,
		ms(r.quantile(0.5)), ms(r.quantile(0.99)), ms(r.firstQuantile(0.5)), r.rate())
}

// subjects make questions of some variety, the same on both sides.
var subjects = []string{
	"my deductible", "the dress code", "my pension", "parental leave", "the help desk", "my payslip",
	"expenses for travel", "the gym", "a new laptop", "overtime", "my password", "the dental plan",
}

func question(i int) string {
	return fmt.Sprintf("what should i know about %s as a new colleague in team %d?", subjects[i%len(subjects)], i)
}

// load has all askers ask until count questions are answered.
func (s *settings) load(ctx context.Context, askers []asker, count int) (result, error) {
	var (
		mu     sync.Mutex
		next   int
		failed error
		r      result
		wg     sync.WaitGroup
	)
	begin := time.Now()
	for _, a := range askers {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := i >= count || failed != nil
				mu.Unlock()
				if stop {
					return
				}
				took, first, tokens, err := s.one(ctx, a, question(i))
				mu.Lock()
				if err != nil && failed == nil {
					failed = err
				}
				r.latency, r.first = append(r.latency, took), append(r.first, first)
				r.tokens += tokens
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.took = time.Since(begin)
	return r, failed
}

func (s *settings) one(ctx context.Context, a asker, q string) (took, first time.Duration, tokens int, err error) {
	begin := time.Now()
	r := inference.Request{
		Messages:  []inference.Message{{Role: inference.RoleUser, Content: q}},
		MaxTokens: s.maxTokens,
	}
	for chunk, err := range a(ctx, r) {
		if err != nil {
			return 0, 0, 0, err
		}
		if first == 0 && (chunk.Text != "" || chunk.FinishReason != "") {
			first = time.Since(begin)
		}
		if chunk.Usage != nil {
			tokens = chunk.Usage.GeneratedTokens
		}
	}
	return time.Since(begin), first, tokens, nil
}
