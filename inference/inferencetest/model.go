// Package inferencetest has a model without weights, for testing programs that
// use package inference.
//
// [Model] is deterministic, needs no library and answers at once. It keeps the
// contract of inference.Model: validation, limits, stop strings, cancellation,
// usage. It does not sample: the settings of sampling change nothing, and every
// token has the probability 1. Nor does it constrain or cache: Grammar,
// JSONSchema, CacheScope and PublicPrefix are checked like all fields, and
// change nothing.
package inferencetest

import (
	"context"
	"iter"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
)

// Options says how a Model answers.
type Options struct {
	// Answer returns the answer to a prompt, or to the last of the messages
	// if the request has those. It may be called from several goroutines. nil
	// means Echo.
	Answer func(prompt string) string
	// MaxTokens is the most tokens of prompt and answer. 0 means 4096.
	MaxTokens int
	// MaxConcurrent is how many requests may run at once; one more gets
	// inference.ErrOverloaded. 0 means no limit.
	MaxConcurrent int
	// Step, if not nil, is called before each token of an answer. It lets a
	// test hold an answer up; it should return when ctx ends. Its error ends
	// the answer.
	Step func(ctx context.Context) error
}

// Echo answers with a space, "You said: " and the prompt.
func Echo(prompt string) string { return " You said: " + prompt }

// Model is an inference.Model whose tokens are characters. It is safe for
// concurrent use.
type Model struct {
	opts    Options
	closing chan struct{}

	mu      sync.Mutex
	closed  bool
	running int
	idle    sync.WaitGroup
}

var _ inference.Model = (*Model)(nil)

// New returns a Model.
func New(opts Options) *Model {
	if opts.Answer == nil {
		opts.Answer = Echo
	}
	if opts.MaxTokens <= 0 {
		opts.MaxTokens = 4096
	}
	return &Model{opts: opts, closing: make(chan struct{})}
}

// Generate implements inference.Model. Each chunk has one character.
func (m *Model) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	return func(yield func(inference.Chunk, error) bool) {
		if err := m.begin(ctx, &req); err != nil {
			yield(inference.Chunk{}, err)
			return
		}
		defer m.end()
		prompt, last := read(&req)
		limit := req.MaxTokens
		if limit == 0 {
			limit = inference.DefaultMaxTokens
		}
		answer, reason := cut(m.opts.Answer(last), req.Stop, min(limit, m.opts.MaxTokens-prompt))
		n := 0
		for _, r := range answer {
			if err := m.step(ctx); err != nil {
				yield(inference.Chunk{}, err)
				return
			}
			n++
			c := inference.Chunk{Text: string(r), Tokens: []inference.Token{inference.Token(r)}}
			if req.LogProbs {
				c.LogProbs = []inference.TokenLogProbs{sure(r, req.TopLogProbs)}
			}
			if !yield(c, nil) {
				return
			}
		}
		yield(inference.Chunk{
			FinishReason: reason,
			Usage:        &inference.Usage{PromptTokens: prompt, GeneratedTokens: n},
		}, nil)
	}
}

// read returns the number of a request's tokens and what it asks last.
func read(req *inference.Request) (tokens int, last string) {
	if len(req.Messages) == 0 {
		return utf8.RuneCountInString(req.Prompt), req.Prompt
	}
	for _, m := range req.Messages {
		tokens += utf8.RuneCountInString(m.Content)
		last = m.Content
	}
	return tokens, last
}

// sure returns what is known of a token that is certain: it has the logarithm
// 0, and no other is possible, however many alternatives are asked for.
func sure(r rune, top int) inference.TokenLogProbs {
	p := inference.TokenLogProbs{LogProb: inference.LogProb{Token: inference.Token(r), Bytes: []byte(string(r))}}
	if top > 0 {
		p.Top = []inference.LogProb{p.LogProb}
	}
	return p
}

// begin admits a request.
func (m *Model) begin(ctx context.Context, req *inference.Request) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := req.Validate(); err != nil {
		return err
	}
	if n, _ := read(req); n >= m.opts.MaxTokens {
		field := "Prompt"
		if len(req.Messages) > 0 {
			field = "Messages"
		}
		return &inference.RequestError{Field: field, Reason: "leaves no space for an answer", Err: inference.ErrPromptTooLong}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return inference.ErrClosed
	}
	if m.opts.MaxConcurrent > 0 && m.running >= m.opts.MaxConcurrent {
		return inference.ErrOverloaded
	}
	m.running++
	m.idle.Add(1)
	return nil
}

func (m *Model) end() {
	m.mu.Lock()
	m.running--
	m.mu.Unlock()
	m.idle.Done()
}

// step is what happens before each token.
func (m *Model) step(ctx context.Context) error {
	if m.opts.Step != nil {
		if err := m.opts.Step(ctx); err != nil {
			return err
		}
	}
	select {
	case <-m.closing:
		return inference.ErrClosed
	default:
		return ctx.Err()
	}
}

// cut ends an answer at the first stop string or after limit characters.
func cut(answer string, stops []string, limit int) (string, inference.FinishReason) {
	answer = strings.ToValidUTF8(answer, "\ufffd")
	reason := inference.FinishStop
	for _, s := range stops {
		if before, _, ok := strings.Cut(answer, s); ok {
			answer, reason = before, inference.FinishStopString
		}
	}
	n := 0
	for i := range answer {
		if n == limit {
			return answer[:i], inference.FinishLength
		}
		n++
	}
	return answer, reason
}

// Tokenize implements inference.Model: a token is a character's code point.
func (m *Model) Tokenize(ctx context.Context, text string) ([]inference.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req := inference.Request{Prompt: text}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return nil, inference.ErrClosed
	}
	tokens := []inference.Token{}
	for _, r := range text {
		tokens = append(tokens, inference.Token(r))
	}
	return tokens, nil
}

// Info implements inference.Model.
func (m *Model) Info() inference.Info {
	return inference.Info{
		Name:           "inferencetest",
		VocabularySize: utf8.MaxRune + 1,
		MaxTokens:      m.opts.MaxTokens,
		MaxConcurrent:  m.opts.MaxConcurrent,
		Engine:         "inferencetest",
	}
}

// Close implements inference.Model. It waits for running answers, which end
// before their next token.
func (m *Model) Close() error {
	m.mu.Lock()
	if !m.closed {
		m.closed = true
		close(m.closing)
	}
	m.mu.Unlock()
	m.idle.Wait()
	return nil
}
