package native

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
)

// ContextOptions are the members of llama_context_params that are set; all
// others keep the library's defaults.
type ContextOptions struct {
	Tokens    int // n_ctx, for all sequences together
	Batch     int // n_batch and n_ubatch
	Sequences int // n_seq_max; each has cells of its own (kv_unified is off)
	Threads   int
}

// NewContext makes a context that gives a row of logits for each sequence and
// step; libllama wants no fewer.
func (l *Lib) NewContext(m LlamaModel, opts ContextOptions) (Context, error) {
	params := make([]byte, l.layout.contextSize)
	copy(params, l.contextDefaults[:])
	put := func(offset, v int) { binary.NativeEndian.PutUint32(params[offset:], uint32(v)) }
	put(ctxN, opts.Tokens)
	put(ctxBatch, opts.Batch)
	put(ctxUBatch, opts.Batch)
	put(ctxSeqMax, opts.Sequences)
	put(ctxOutputMax, opts.Sequences)
	c := l.initContext(m, params)
	if c == 0 {
		return 0, errors.New("llama: libllama could not make a context; is there enough memory?")
	}
	l.SetThreads(c, int32(opts.Threads), int32(opts.Threads))
	return c, nil
}

// Loads in progress, keyed by the user data that their callback gets: a
// callback is never freed, so there is one for all of them.
var loads struct {
	sync.Mutex
	next uintptr
	ctx  map[uintptr]context.Context
}

// LoadModel loads a GGUF file, in place if asked to: see useInPlace. It stops
// early when ctx ends.
func (l *Lib) LoadModel(ctx context.Context, path string, inPlace bool) (LlamaModel, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	loads.Lock()
	loads.next++
	key := loads.next
	if loads.ctx == nil {
		loads.ctx = map[uintptr]context.Context{}
	}
	loads.ctx[key] = ctx
	loads.Unlock()
	defer func() {
		loads.Lock()
		delete(loads.ctx, key)
		loads.Unlock()
	}()

	params := l.modelDefaults()
	if inPlace {
		if err := params.useInPlace(); err != nil {
			return 0, err
		}
	}
	params.Progress, params.ProgressData = progressCallback(), key
	m := l.modelLoad(path, params)
	if m == 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return 0, errors.New("llama: libllama could not load the model; Options.Logger gets its reasons")
	}
	return m, nil
}

// onProgress implements llama_progress_callback: false ends the load.
func onProgress(key uintptr) bool {
	loads.Lock()
	defer loads.Unlock()
	ctx := loads.ctx[key]
	return ctx == nil || ctx.Err() == nil
}
