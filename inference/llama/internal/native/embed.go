package native

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// embedFunctions are what computes embeddings. Lib embeds them.
type embedFunctions struct {
	poolingType  func(Context) int32
	embeddingsOf func(c Context, seq int32) *float32

	// ModelEmbeddingSize returns the number of elements of an embedding.
	ModelEmbeddingSize func(LlamaModel) int32
}

func (f *embedFunctions) symbols() map[string]any {
	return map[string]any{
		"llama_pooling_type":       &f.poolingType,
		"llama_get_embeddings_seq": &f.embeddingsOf,
		"llama_model_n_embd_out":   &f.ModelEmbeddingSize,
	}
}

// Values of enum llama_pooling_type.
const (
	poolingModel = -1 // the model's own
	poolingNone  = 0
	poolingMean  = 1
	poolingRank  = 4
)

// ErrNoEmbeddings means that a model gives a score, not a vector.
var ErrNoEmbeddings = errors.New("llama: the model ranks texts, it has no embeddings")

// NewEmbeddingContext makes a context for one sequence of at most tokens,
// which must be decoded in one batch with every row an output: the library
// pools only what it sees at once, and aborts the process if it is to return
// more rows than were announced. The pooling is the model's own, or the mean
// if it has none.
func (l *Lib) NewEmbeddingContext(m LlamaModel, tokens, threads int) (Context, error) {
	for _, pooling := range []int{poolingModel, poolingMean} {
		params := make([]byte, l.layout.contextSize)
		copy(params, l.contextDefaults[:])
		put := func(offset, v int) { binary.NativeEndian.PutUint32(params[offset:], uint32(v)) }
		put(ctxN, tokens)
		put(ctxBatch, tokens)
		put(ctxUBatch, tokens)
		put(ctxSeqMax, 1)
		put(ctxOutputMax, tokens)
		put(ctxPooling, pooling)
		params[l.layout.boolOffset] = 1 // embeddings
		c := l.initContext(m, params)
		if c == 0 {
			return 0, errors.New("llama: libllama could not make a context for embeddings; is there enough memory?")
		}
		switch l.poolingType(c) {
		case poolingNone:
			l.ContextFree(c)
			continue
		case poolingRank:
			l.ContextFree(c)
			return 0, ErrNoEmbeddings
		}
		l.SetThreads(c, int32(threads), int32(threads))
		return c, nil
	}
	return 0, errors.New("llama: libllama does not pool embeddings")
}

// TakeEmbeddings copies the pooled embedding of sequence 0 after a decode into
// out, which must have ModelEmbeddingSize elements, and overwrites it in the
// library's memory. It returns false if there is none.
func (l *Lib) TakeEmbeddings(c Context, out []float32) bool {
	p := l.embeddingsOf(c, 0)
	if p == nil {
		return false
	}
	in := unsafe.Slice(p, len(out))
	copy(out, in)
	clear(in)
	return true
}
