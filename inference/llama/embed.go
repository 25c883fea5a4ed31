package llama

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// maxEmbedTexts is the most texts in one call of Embed.
const maxEmbedTexts = 2048

var _ inference.Embedder = (*Model)(nil)

// Embed implements inference.Embedder, if Options.Embeddings was set; else the
// error is errors.ErrUnsupported. It pools as the model file says, else it
// takes the mean over the tokens.
//
// At most 2048 texts are taken at once, with together at most
// inference.MaxPromptBytes, none of them empty. A text may have as many tokens
// as Options.BatchSize and Options.ContextSize both allow. Texts of concurrent
// calls take turns, beside the requests of Generate; Options.QueueLimit limits
// the calls that wait. A text that has begun is finished when ctx ends.
func (m *Model) Embed(ctx context.Context, texts []string) ([][]float32, error) {
	if m.embedder == nil {
		return nil, fmt.Errorf("llama: Embed: Options.Embeddings is not set: %w", errors.ErrUnsupported)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := checkTexts(texts); err != nil {
		return nil, err
	}
	e := m.embedder
	defer e.calls.Add(-1)
	if e.calls.Add(1) > e.limit {
		return nil, inference.ErrOverloaded
	}
	out := make([][]float32, len(texts))
	for i, text := range texts {
		tokens, err := m.embedTokens(ctx, text)
		if err != nil {
			return nil, err
		}
		out[i], err = e.embed(ctx, tokens)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkTexts checks what can be checked without the model.
func checkTexts(texts []string) error {
	refuse := func(format string, args ...any) error {
		return &inference.RequestError{Field: "texts", Reason: fmt.Sprintf(format, args...), Err: inference.ErrInvalidRequest}
	}
	if len(texts) > maxEmbedTexts {
		return refuse("%d texts, limit %d", len(texts), maxEmbedTexts)
	}
	bytes := 0
	for i, text := range texts {
		if text == "" {
			return refuse("text %d is empty", i)
		}
		if !utf8.ValidString(text) {
			return refuse("text %d is not UTF-8", i)
		}
		if bytes += len(text); bytes > inference.MaxPromptBytes {
			return &inference.RequestError{Field: "texts", Reason: fmt.Sprintf("over %d bytes together", inference.MaxPromptBytes), Err: inference.ErrPromptTooLong}
		}
	}
	return nil
}

// embedTokens tokenizes a text with the ends that the model wants.
func (m *Model) embedTokens(ctx context.Context, text string) ([]inference.Token, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, inference.ErrClosed
	}
	tokens, err := m.tokenizer.read(withEnds, false, text)
	if err != nil {
		return nil, inField("texts", err)
	}
	if n, most := len(tokens), m.embedder.most; n < 1 || n > most {
		clear(tokens)
		return nil, &inference.RequestError{Field: "texts", Reason: fmt.Sprintf("a text has %d tokens, not 1 to %d", n, most), Err: inference.ErrPromptTooLong}
	}
	return tokens, nil
}

// An embedder computes embeddings, one text at a time. The goroutine run alone
// calls libllama with the context.
type embedder struct {
	limit int64 // of calls, running and waiting
	most  int   // tokens of a text
	calls atomic.Int64

	work    chan *embedJob // unbuffered: who waits longest is next
	closing chan struct{}
	once    sync.Once     // guards closing
	stopped chan struct{} // closed when run has returned

	lib     *native.Lib
	context native.Context
	memory  native.Memory
	batch   *batch
	size    int // elements of an embedding
}

// An embedJob is one text. Its tokens are the goroutine's once it is sent.
type embedJob struct {
	tokens []inference.Token
	done   chan struct{} // closed when vector and err are set
	vector []float32
	err    error
}

// newEmbedder makes the context, or returns nil if opts do not ask for it. It
// needs m.info.
func newEmbedder(m *Model, opts Options) (*embedder, error) {
	if !opts.Embeddings {
		return nil, nil
	}
	size := int(m.lib.ModelEmbeddingSize(m.model))
	if size < 1 {
		return nil, errors.New("llama: the model has no embeddings")
	}
	c, err := m.lib.NewEmbeddingContext(m.model, min(opts.BatchSize, m.info.MaxTokens), opts.Threads)
	if err != nil {
		return nil, err
	}
	// libllama may round up and take more, or give less.
	most := min(opts.BatchSize, m.info.MaxTokens, int(m.lib.ContextSeqSize(c)), int(m.lib.ContextBatch(c)))
	e := &embedder{
		limit:   int64(opts.QueueLimit) + 1,
		most:    most,
		work:    make(chan *embedJob),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
		lib:     m.lib,
		context: c,
		memory:  m.lib.ContextMemory(c),
		batch:   newBatch(m.lib, most),
		size:    size,
	}
	go e.run()
	return e, nil
}

// embed waits for the embedding of a text. It takes over tokens.
func (e *embedder) embed(ctx context.Context, tokens []inference.Token) ([]float32, error) {
	j := &embedJob{tokens: tokens, done: make(chan struct{})}
	select {
	case e.work <- j:
	case <-ctx.Done():
		clear(tokens)
		return nil, ctx.Err()
	case <-e.closing:
		clear(tokens)
		return nil, inference.ErrClosed
	}
	// What has been taken is finished, closing or not: it takes one step.
	<-j.done
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return j.vector, j.err
}

// run is the goroutine of the context.
func (e *embedder) run() {
	// OpenMP keeps a team of threads for each thread that starts work.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(e.stopped)
	defer e.release()
	for {
		select {
		case <-e.closing:
			return
		case j := <-e.work:
			j.vector, j.err = e.compute(j.tokens)
			clear(j.tokens)
			close(j.done)
		}
	}
}

// compute decodes at most most tokens, and leaves nothing of them in the
// key-value cache. The context's rows of output hold them until the next text.
func (e *embedder) compute(tokens []inference.Token) ([]float32, error) {
	defer e.lib.MemoryClear(e.memory, true)
	defer e.batch.clear()
	for i, t := range tokens {
		e.batch.add(int32(t), int32(i), 0, true)
	}
	if rc := e.lib.Decode(e.context, e.batch.raw); rc != 0 {
		return nil, fmt.Errorf("llama: decode failed with %d", rc)
	}
	v := make([]float32, e.size)
	if !e.lib.TakeEmbeddings(e.context, v) {
		return nil, errors.New("llama: libllama gave no embedding")
	}
	if err := normalize(v); err != nil {
		return nil, err
	}
	return v, nil
}

// normalize scales v to unit length.
func normalize(v []float32) error {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	length := math.Sqrt(sum)
	if length == 0 || math.IsNaN(length) || math.IsInf(length, 0) {
		return errors.New("llama: the embedding has no length")
	}
	for i, x := range v {
		v[i] = float32(float64(x) / length)
	}
	return nil
}

// release zeroes the key-value cache and frees the context.
func (e *embedder) release() {
	e.lib.MemoryClear(e.memory, true)
	e.batch.free()
	e.lib.ContextFree(e.context)
}

// closeEmbedder ends what waits with ErrClosed, and waits until the context is
// released. Closing again does nothing.
func (m *Model) closeEmbedder() {
	if e := m.embedder; e != nil {
		e.once.Do(func() { close(e.closing) })
		<-e.stopped
	}
}
