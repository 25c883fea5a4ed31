package llama

import (
	"context"
	"errors"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// Stats says what a Model does and has done since it was opened. Counters only
// grow.
type Stats struct {
	// Waiting and Running are the requests that are in the queue and that are
	// worked on now.
	Waiting, Running int

	// Requests counts what entered the queue; of them Finished have been
	// answered, Cancelled were given up by their callers and Failed ended
	// with another error. Refused counts what did not enter because the queue
	// was full.
	Requests, Finished, Cancelled, Failed, Refused uint64

	// PromptTokens counts the computed tokens of prompts, CachedTokens those
	// that needed no computing (see inference.Request.CacheScope), and
	// GeneratedTokens the sampled ones, those that end answers included.
	PromptTokens, CachedTokens, GeneratedTokens uint64

	// Steps counts decode steps and StepTime adds up how long they took:
	// (PromptTokens+GeneratedTokens)/StepTime is the throughput while there
	// is work.
	Steps    uint64
	StepTime time.Duration

	// Prefixes are the sequences that hold something for later requests, and
	// PrefixTokens what they hold.
	Prefixes, PrefixTokens int
}

// step counts a step.
func (s *Stats) step(prompts, sampled uint64, took time.Duration) {
	s.Steps++
	s.StepTime += took
	s.PromptTokens += prompts
	s.GeneratedTokens += sampled
}

// count counts a request that had a sequence and ended.
func (s *Stats) count(q *sequence, err error) {
	s.CachedTokens += uint64(q.cached)
	switch {
	case err == nil:
		s.Finished++
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		s.Cancelled++
	default:
		s.Failed++
	}
}

// gauge notes what the cache holds. Only run's goroutine calls it, with mu held.
func (s *scheduler) gauge() {
	s.stats.Prefixes, s.stats.PrefixTokens = s.slots.held()
}

// snapshot returns the current Stats.
func (s *scheduler) snapshot() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.stats
	out.Waiting, out.Running = len(s.waiting), s.running
	return out
}

// RequestStats is what Options.OnRequest gets. It has no text.
type RequestStats struct {
	// Queued is how long the request waited for a sequence; FirstToken how
	// long after its beginning the first token came, 0 if none did; Total how
	// long it took. They are those of the caller of Generate: one that takes
	// chunks late makes Total longer.
	Queued, FirstToken, Total time.Duration
	// PromptTokens counts the prompt, CachedTokens those of it that needed no
	// computing, GeneratedTokens the answer.
	PromptTokens, CachedTokens, GeneratedTokens int
	// FinishReason is empty if the answer did not finish.
	FinishReason inference.FinishReason
	// Err is the error that the caller got, or context.Canceled if the caller
	// left, or nil.
	Err error
}
