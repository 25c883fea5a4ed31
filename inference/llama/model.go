package llama

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
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
	opts  Options
	sched *scheduler
	// reading limits how many requests are prepared at once.
	reading chan struct{}

	tokenizer *tokenizer
	chat      *chat
	embedder  *embedder // nil without Options.Embeddings

	mu     sync.RWMutex // held for reading while vocab is used
	closed bool         // guarded by mu
}

// Open loads the library and the model, which it stops early when ctx ends.
// A library of an unknown version or layout is refused with an *ABIError. The
// error is libllama.ErrNotFound if there is no library, and ErrDigest if the
// model is not the expected one.
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
	model, err := lib.LoadModel(ctx, src.path, opts.inPlace())
	if err := errors.Join(err, src.close()); err != nil {
		if model != 0 {
			lib.ModelFree(model)
		}
		return nil, err
	}
	m := &Model{lib: lib, model: model, vocab: lib.ModelVocab(model), reading: make(chan struct{}, runtime.GOMAXPROCS(0))}
	if err := m.start(opts, src.digest); err != nil {
		lib.ModelFree(model)
		return nil, err
	}
	return m, nil
}

// start makes the context and its scheduler.
func (m *Model) start(opts Options, digest string) error {
	// The further files of a split model would be loaded without a look at
	// their digests.
	if n := m.lib.Meta(m.model, "split.count"); n != "" && n != "0" && n != "1" {
		return errors.New("llama: the model is split into several files; join them with llama-gguf-split --merge")
	}
	if m.lib.ModelHasEncoder(m.model) || !m.lib.ModelHasDecoder(m.model) || m.lib.VocabType(m.vocab) == 0 {
		return errors.New("llama: not a text-generating, decoder-only model")
	}
	if opts.ContextSize == 0 {
		opts.ContextSize = min(defaultContextSize, int(m.lib.ModelContextTrain(m.model)))
	}
	// libllama rounds each sequence's part up to a multiple of 256.
	opts.ContextSize = (max(opts.ContextSize, 1) + 255) / 256 * 256
	sequences := opts.MaxSequences + max(opts.CacheSequences, 0)
	c, err := m.lib.NewContext(m.model, native.ContextOptions{
		Tokens:    opts.ContextSize * sequences,
		Batch:     opts.BatchSize,
		Sequences: sequences,
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
		Name:           strings.ToValidUTF8(m.lib.Meta(m.model, "general.name"), "\ufffd"),
		Digest:         digest,
		Parameters:     m.lib.ModelParameters(m.model),
		VocabularySize: int(m.lib.VocabTokens(m.vocab)),
		MaxTokens:      opts.ContextSize,
		MaxConcurrent:  opts.MaxSequences,
		Engine:         "libllama " + m.lib.Version,
	}
	if m.tokenizer, err = newTokenizer(m); err == nil {
		m.chat, err = newChat(m, opts.ChatTemplate)
	}
	if err == nil {
		m.embedder, err = newEmbedder(m, opts)
	}
	if err != nil {
		m.lib.ContextFree(c)
		return err
	}
	m.sched = newScheduler(m, c, min(batch, opts.BatchSize), sequences, opts)
	native.CountModel(1)
	opts.Model, opts.ModelReader = nil, nil
	m.opts = opts
	return nil
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
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, inference.ErrClosed
	}
	return m.tokenizer.text(text)
}

// hasBeginnings says whether the cells of a text's beginning are enough to go
// on from there. The state of a recurrent model is that of its last token, and
// of a sliding window the cells behind it may have been used for others.
func (m *Model) hasBeginnings() bool {
	return !m.lib.ModelIsRecurrent(m.model) && !m.lib.ModelIsHybrid(m.model) && m.lib.ModelWindow(m.model) <= 0
}

// Info implements inference.Model.
func (m *Model) Info() inference.Info { return m.info }

// Close implements inference.Model.
func (m *Model) Close() error {
	m.sched.close()
	m.closeEmbedder()
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.closed = true
		native.CountModel(-1)
		m.lib.ModelFree(m.model)
	}
	return nil
}
