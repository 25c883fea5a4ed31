package llama

import (
	"context"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
)

// A job is a request on its way through the scheduler.
type job struct {
	ctx     context.Context
	req     inference.Request
	grammar *grammar.Grammar // what the answer must match, or nil
	prompt  []inference.Token
	public  int // leading tokens of prompt that are no secret
	limit   int // of new tokens
	out     mailbox
}

// fail ends the job with an error.
func (j *job) fail(err error) {
	clear(j.prompt)
	j.out.fail(err)
}

// progress says when a job got how far.
type progress struct {
	started, first time.Time // zero if not yet
	cached         int       // prompt tokens not computed
	generated      int
}

// A mailbox carries chunks from the scheduler to one reader. The scheduler
// never waits: chunks that the reader has not taken become one.
type mailbox struct {
	ready chan struct{} // holds a value while there is something to take

	mu       sync.Mutex
	chunk    inference.Chunk
	full     bool
	err      error
	done     bool
	progress progress
}

func (m *mailbox) put(c inference.Chunk) {
	m.mu.Lock()
	m.chunk.Text += c.Text
	m.chunk.Tokens = append(m.chunk.Tokens, c.Tokens...)
	m.chunk.LogProbs = append(m.chunk.LogProbs, c.LogProbs...)
	m.chunk.FinishReason, m.chunk.Usage = c.FinishReason, c.Usage
	m.full = true
	m.done = c.FinishReason != ""
	m.progress.generated += len(c.Tokens)
	if len(c.Tokens) > 0 && m.progress.first.IsZero() {
		m.progress.first = time.Now()
	}
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) fail(err error) {
	m.mu.Lock()
	m.err, m.done = err, true
	m.mu.Unlock()
	m.wake()
}

// begin notes that the job has got a sequence.
func (m *mailbox) begin(now time.Time) {
	m.mu.Lock()
	m.progress.started = now
	m.mu.Unlock()
}

// share notes how many tokens of the prompt need not be computed.
func (m *mailbox) share(cached int) {
	m.mu.Lock()
	m.progress.cached = cached
	m.mu.Unlock()
}

func (m *mailbox) state() progress {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.progress
}

func (m *mailbox) wake() {
	select {
	case m.ready <- struct{}{}:
	default:
	}
}

// take returns what there is. After an error there is nothing else.
func (m *mailbox) take() (c inference.Chunk, ok, done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return inference.Chunk{}, false, true, m.err
	}
	c, ok = m.chunk, m.full
	m.chunk, m.full = inference.Chunk{}, false
	return c, ok, m.done, nil
}
