package llama

import (
	"context"
	"sync"

	"github.com/nitroseal/nitroseal/inference"
)

// A job is a request on its way through the scheduler.
type job struct {
	ctx    context.Context
	req    inference.Request
	prompt []inference.Token
	limit  int // of new tokens
	out    mailbox
}

// A mailbox carries chunks from the scheduler to one reader. The scheduler
// never waits: chunks that the reader has not taken become one.
type mailbox struct {
	ready chan struct{} // holds a value while there is something to take

	mu    sync.Mutex
	chunk inference.Chunk
	full  bool
	err   error
	done  bool
}

func (m *mailbox) put(c inference.Chunk) {
	m.mu.Lock()
	m.chunk.Text += c.Text
	m.chunk.Tokens = append(m.chunk.Tokens, c.Tokens...)
	m.chunk.FinishReason, m.chunk.Usage = c.FinishReason, c.Usage
	m.full = true
	m.done = c.FinishReason != ""
	m.mu.Unlock()
	m.wake()
}

func (m *mailbox) fail(err error) {
	m.mu.Lock()
	m.err, m.done = err, true
	m.mu.Unlock()
	m.wake()
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
