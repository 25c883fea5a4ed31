package llama

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// Model is a loaded model. Its methods are safe for concurrent use.
type Model struct {
	lib   *native.Lib
	model native.LlamaModel
	vocab native.Vocab
	bos   inference.Token // the token that begins a text; may be no token at all
	info  inference.Info
	sched *scheduler

	mu     sync.RWMutex // held for reading while vocab is used
	closed bool         // guarded by mu
}

// Open loads the library and the model, which it stops early when ctx ends.
// A library of an unknown version or layout is refused. The error is
// libllama.ErrNotFound if there is no library, and ErrDigest if the model is
// not the expected one.
func Open(ctx context.Context, opts Options) (*Model, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	path, err := libllama.Find(opts.LibraryDir)
	if err != nil {
		return nil, err
	}
	native.SetLogger(opts.Logger)
	defer native.WhileLoading()()
	lib, err := native.Load(path)
	if err != nil {
		return nil, err
	}
	src, err := openSource(ctx, opts)
	if err != nil {
		return nil, err
	}
	model, err := lib.LoadModel(ctx, src.path)
	if err := errors.Join(err, src.close()); err != nil {
		if model != 0 {
			lib.ModelFree(model)
		}
		return nil, err
	}
	m := &Model{lib: lib, model: model, vocab: lib.ModelVocab(model)}
	if err := m.start(opts, src.digest); err != nil {
		lib.ModelFree(model)
		return nil, err
	}
	return m, nil
}

// start makes the context and its scheduler.
func (m *Model) start(opts Options, digest string) error {
	if m.lib.ModelHasEncoder(m.model) || !m.lib.ModelHasDecoder(m.model) || m.lib.VocabType(m.vocab) == 0 {
		return errors.New("llama: not a text-generating, decoder-only model")
	}
	if opts.ContextSize == 0 {
		opts.ContextSize = min(defaultContextSize, int(m.lib.ModelContextTrain(m.model)))
	}
	// libllama rounds each sequence's part up to a multiple of 256.
	opts.ContextSize = (max(opts.ContextSize, 1) + 255) / 256 * 256
	c, err := m.lib.NewContext(m.model, native.ContextOptions{
		Tokens:    opts.ContextSize * opts.MaxSequences,
		Batch:     opts.BatchSize,
		Sequences: opts.MaxSequences,
		Threads:   opts.Threads,
	})
	if err != nil {
		return err
	}
	size, batch := int(m.lib.ContextSeqSize(c)), int(m.lib.ContextBatch(c))
	if size < opts.ContextSize || batch < opts.MaxSequences {
		m.lib.ContextFree(c)
		return fmt.Errorf("llama: libllama gave a context of %d tokens per request and %d per step", size, batch)
	}
	m.bos = inference.Token(m.lib.VocabBOS(m.vocab))
	m.info = inference.Info{
		Name:           m.lib.Meta(m.model, "general.name"),
		Digest:         digest,
		Parameters:     m.lib.ModelParameters(m.model),
		VocabularySize: int(m.lib.VocabTokens(m.vocab)),
		MaxTokens:      size,
		MaxConcurrent:  opts.MaxSequences,
		Engine:         "libllama " + m.lib.Version,
	}
	m.sched = newScheduler(m, c, min(batch, opts.BatchSize), opts)
	return nil
}

// Generate implements inference.Model.
func (m *Model) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	return func(yield func(inference.Chunk, error) bool) {
		// Leaving the loop ends the request.
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		j, err := m.newJob(ctx, req)
		if err == nil {
			err = m.sched.submit(j)
		}
		if err != nil {
			yield(inference.Chunk{}, err)
			return
		}
		for {
			select {
			case <-ctx.Done():
				m.sched.forget(j)
				yield(inference.Chunk{}, ctx.Err())
				return
			case <-j.out.ready:
			}
			c, ok, done, err := j.out.take()
			if err != nil {
				yield(inference.Chunk{}, err)
				return
			}
			if ok && !yield(c, nil) || done {
				return
			}
		}
	}
}

// newJob checks a request and tokenizes its prompt.
func (m *Model) newJob(ctx context.Context, req inference.Request) (*job, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	prompt, err := m.Tokenize(ctx, req.Prompt)
	if err != nil {
		return nil, err
	}
	if len(prompt) == 0 {
		// Nothing to continue: the model's token for the beginning of text.
		if m.bos < 0 || int(m.bos) >= m.info.VocabularySize {
			return nil, &inference.RequestError{Field: "Prompt", Reason: "empty, and the model has no token to begin with", Err: inference.ErrInvalidRequest}
		}
		prompt = []inference.Token{m.bos}
	}
	space := m.info.MaxTokens - len(prompt)
	if space < 1 {
		return nil, &inference.RequestError{Field: "Prompt", Reason: fmt.Sprintf("%d tokens, prompt and answer may have %d", len(prompt), m.info.MaxTokens), Err: inference.ErrPromptTooLong}
	}
	limit := req.MaxTokens
	if limit == 0 {
		limit = inference.DefaultMaxTokens
	}
	return &job{
		ctx:    ctx,
		req:    req,
		prompt: prompt,
		limit:  min(limit, space),
		out:    mailbox{ready: make(chan struct{}, 1)},
	}, nil
}

// Tokenize implements inference.Model.
func (m *Model) Tokenize(ctx context.Context, text string) ([]inference.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	req := inference.Request{Prompt: text}
	if err := req.Validate(); err != nil {
		return nil, err
	}
	if err := checkRuns(text); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, inference.ErrClosed
	}
	in := append([]byte(text), 0) // never empty, so that it has an address
	// A token has at least one byte; two more for the ends of the text.
	out := make([]int32, len(text)+2)
	// The model's own rule decides about its beginning-of-text token;
	// special tokens that text spells stay text.
	n := m.lib.Tokenize(m.vocab, &in[0], int32(len(text)), &out[0], int32(len(out)), true, false)
	if n < 0 || int(n) > len(out) {
		return nil, fmt.Errorf("llama: tokenizing failed with %d", n)
	}
	tokens := make([]inference.Token, n)
	for i := range tokens {
		tokens[i] = inference.Token(out[i])
	}
	clear(in)
	clear(out)
	return tokens, nil
}

// Info implements inference.Model.
func (m *Model) Info() inference.Info { return m.info }

// Close implements inference.Model.
func (m *Model) Close() error {
	m.sched.close()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		m.lib.ModelFree(m.model)
	}
	return nil
}
