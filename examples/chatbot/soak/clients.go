package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/inference"
)

// The kinds of clients.
const (
	asking       = "asking"
	cancelling   = "cancelling"
	reconnecting = "reconnecting"
	conversing   = "conversing"
	misbehaving  = "misbehaving"
)

// kinds has each kind once.
var kinds = []string{asking, cancelling, reconnecting, conversing, misbehaving}

// kindOf is the kind of client i: one of each first, and half of them asking.
func kindOf(i int) string {
	if i %= 8; i < len(kinds) {
		return kinds[i]
	}
	return asking
}

const (
	// reconnectEvery is how long a reconnecting client keeps its session. Its
	// connection stays open for a minute more.
	reconnectEvery = 15 * time.Second
	// turns is after how many turns a conversation begins anew.
	turns = 8
)

// client asks over and over, in the way of its kind.
type client struct {
	kind, name string
	timeout    time.Duration
	pipeline   *pipeline
	tally      *tally
	refusals   []refusal

	chat  *chat.Client
	since time.Time // when chat was made
	turn  int
	past  []inference.Message
}

// startClients starts all clients. They ask until ctx ends; wait returns when
// the last has stopped.
func startClients(ctx context.Context, s *settings, p *pipeline, t *tally) (wait func(), err error) {
	var all []*client
	refused := refusals() // some are large: all clients send the same ones
	for i := range s.clients {
		c := &client{kind: kindOf(i), name: exact.Names[i], timeout: s.timeout, pipeline: p, tally: t, refusals: refused}
		if c.chat, err = p.client(); err != nil {
			return nil, err
		}
		c.since = time.Now()
		all = append(all, c)
	}
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			for ctx.Err() == nil {
				c.step(ctx)
				c.turn++
			}
		})
	}
	return wg.Wait, nil
}

// step does one thing that the client's kind does.
func (c *client) step(ctx context.Context) {
	switch {
	case c.kind == cancelling && c.turn%2 == 0:
		c.cancel(ctx)
	case c.kind == misbehaving && c.turn%2 == 0:
		c.misbehave(ctx)
	case c.kind == conversing:
		c.converse(ctx)
	case c.kind == reconnecting && time.Since(c.since) > reconnectEvery:
		c.reconnect()
	default:
		c.ask(ctx, exact.Question(c.name))
	}
}

// ask asks once, and wants the exact answer. It reports whether it got it.
func (c *client) ask(ctx context.Context, q ask.Question) bool {
	began := time.Now()
	tokens := 0
	err := c.receive(ctx, q, func(_ context.CancelFunc, chunk *ask.Chunk) {
		if chunk.Usage != nil {
			tokens = chunk.Usage.GeneratedTokens
		}
	})
	if err != nil {
		c.note(ctx, err)
		return false
	}
	ended := time.Now()
	// The client has verified the enclave, and tells what it knows.
	a, err := c.chat.Attestation(ctx)
	if err != nil {
		c.note(ctx, err)
		return false
	}
	c.tally.answer(c.kind, a.Key.ID, began, ended, tokens)
	return true
}

// receive asks, and calls each with each chunk and with what cancels.
func (c *client) receive(ctx context.Context, q ask.Question, each func(context.CancelFunc, *ask.Chunk)) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return exact.Receive(c.chat.Ask(ctx, q), exact.Answer(c.name), func(chunk *ask.Chunk) { each(cancel, chunk) })
}

// note takes an error of a question. What the end of the run causes is none.
func (c *client) note(ctx context.Context, err error) {
	if _, wrong := errors.AsType[*exact.WrongError](err); wrong {
		c.tally.mismatch(c.kind, err)
	} else if ctx.Err() == nil {
		c.tally.fail(c.kind, err)
	}
}

// cancel asks, and leaves in the middle of the answer, each time elsewhere.
func (c *client) cancel(ctx context.Context) {
	leaveAt, n := 1+c.turn/2%24, 0
	err := c.receive(ctx, exact.Question(c.name), func(leave context.CancelFunc, _ *ask.Chunk) {
		if n++; n >= leaveAt {
			leave()
		}
	})
	if errors.Is(err, context.Canceled) && n >= leaveAt {
		c.tally.cancel()
	} else if err != nil {
		c.note(ctx, err)
	}
}

// reconnect takes another client's place, with a session of its own.
func (c *client) reconnect() {
	fresh, err := c.pipeline.client()
	if err != nil {
		c.tally.fail(c.kind, err)
		return
	}
	c.chat, c.since = fresh, time.Now()
	c.tally.attest()
}

// converse asks the next question of a long conversation.
func (c *client) converse(ctx context.Context) {
	q := exact.Question(c.name)
	if len(c.past) >= 2*turns {
		c.past = nil
	}
	own := q.Messages[0]
	q.Messages = append(c.past[:len(c.past):len(c.past)], own)
	if c.ask(ctx, q) {
		c.past = append(c.past, own, inference.Message{Role: inference.RoleAssistant, Content: exact.Answer(c.name)})
	} else {
		c.past = nil
	}
}
