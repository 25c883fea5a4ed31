package llama

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
)

// Generate implements inference.Model.
func (m *Model) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	return func(yield func(inference.Chunk, error) bool) {
		began := time.Now()
		r := RequestStats{Err: context.Canceled}
		var j *job
		if m.opts.OnRequest != nil {
			// Deferred, since the loop may be left by a panic of its body.
			defer func() { m.opts.OnRequest(r.complete(j, began)) }()
		}
		// Leaving the loop ends the request.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		j, err := m.newJob(ctx, req)
		if err == nil {
			r.PromptTokens = len(j.prompt)
			err = m.sched.submit(j)
		}
		if err != nil {
			r.Err = err
			yield(inference.Chunk{}, err)
			return
		}
		for {
			select {
			case <-ctx.Done():
				m.sched.remove(j)
				r.Err = ctx.Err()
				yield(inference.Chunk{}, r.Err)
				return
			case <-j.out.ready:
			}
			c, ok, done, err := j.out.take()
			if err != nil {
				r.Err = err
				yield(inference.Chunk{}, err)
				return
			}
			if done {
				r.Err, r.FinishReason = nil, c.FinishReason
			}
			if ok && !yield(c, nil) || done {
				return
			}
		}
	}
}

// complete adds what the scheduler knows of the job, which may be nil.
func (r RequestStats) complete(j *job, began time.Time) RequestStats {
	r.Total = time.Since(began)
	if j == nil {
		return r
	}
	p := j.out.state()
	r.CachedTokens, r.GeneratedTokens = p.cached, p.generated
	if !p.started.IsZero() {
		r.Queued = p.started.Sub(began)
	}
	if !p.first.IsZero() {
		r.FirstToken = p.first.Sub(began)
	}
	return r
}

// newJob checks a request and tokenizes its prompt.
func (m *Model) newJob(ctx context.Context, req inference.Request) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := m.sched.hasSpace(); err != nil {
		return nil, err
	}
	// What follows can take a second for the largest requests: only as many
	// at once as there are processors.
	select {
	case m.reading <- struct{}{}:
		defer func() { <-m.reading }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	g, err := grammarOf(&req)
	if err != nil {
		return nil, err
	}
	if g != nil {
		if err := m.loadVocabulary(); err != nil {
			return nil, err
		}
	}
	prompt, public, err := m.promptTokens(ctx, &req)
	if err != nil {
		return nil, err
	}
	space := m.info.MaxTokens - len(prompt)
	if space < 1 {
		defer clear(prompt)
		field := "Prompt"
		if len(req.Messages) > 0 {
			field = "Messages"
		}
		return nil, &inference.RequestError{Field: field, Reason: fmt.Sprintf("%d tokens, prompt and answer may have %d", len(prompt), m.info.MaxTokens), Err: inference.ErrPromptTooLong}
	}
	limit := req.MaxTokens
	if limit == 0 {
		limit = inference.DefaultMaxTokens
	}
	if m.opts.MaxNewTokens > 0 {
		limit = min(limit, m.opts.MaxNewTokens)
	}
	req.Stop = slices.Clone(req.Stop) // read after Generate has returned, too
	return &job{
		ctx:     ctx,
		req:     req,
		grammar: g,
		prompt:  prompt,
		public:  public,
		limit:   min(limit, space),
		out:     mailbox{ready: make(chan struct{}, 1)},
	}, nil
}

// loadVocabulary reads the vocabulary for grammars, if that is not done, before
// the scheduler has to.
func (m *Model) loadVocabulary() error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return inference.ErrClosed
	}
	m.sched.words.load()
	return nil
}

// grammarOf returns the grammar of a request, or nil.
func grammarOf(req *inference.Request) (*grammar.Grammar, error) {
	var g *grammar.Grammar
	var err error
	field := "Grammar"
	switch {
	case req.Grammar != "":
		g, err = grammar.Parse(req.Grammar)
	case req.JSONSchema != "":
		field = "JSONSchema"
		g, err = grammar.FromJSONSchema([]byte(req.JSONSchema))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", &inference.RequestError{Field: field, Reason: "cannot be used", Err: inference.ErrInvalidRequest}, err)
	}
	return g, nil
}

// Stats returns what the model does and has done. It is safe for concurrent
// use, and cheap.
func (m *Model) Stats() Stats { return m.sched.snapshot() }

// Forget drops everything that is kept for a cache scope (see
// inference.Request.CacheScope) and returns when it is gone, at the latest
// after the step under way. Requests of the scope that run leave nothing
// either; later ones begin anew. The cells are overwritten with zeros when
// nothing else uses the cache, and before that cannot be read by any request.
func (m *Model) Forget(scope string) { m.sched.forget(scope) }
