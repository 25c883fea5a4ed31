package llama

import (
	"unsafe"

	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// A batch collects the tokens of one decode step in C memory. It cannot hold
// more than the n_batch that it was made for, and only rows that asked for
// logits have an index to sample from: both would abort the process.
type batch struct {
	lib    *native.Lib
	raw    native.Batch
	token  []int32
	pos    []int32
	nSeq   []int32
	seq    []*int32
	logits []int8
}

func newBatch(lib *native.Lib, size int) *batch {
	b := &batch{lib: lib, raw: lib.BatchInit(int32(size), 0, 1)}
	b.token = unsafe.Slice(b.raw.Token, size)
	b.pos = unsafe.Slice(b.raw.Pos, size)
	b.nSeq = unsafe.Slice(b.raw.NSeqID, size)
	b.seq = unsafe.Slice(b.raw.SeqID, size)
	b.logits = unsafe.Slice(b.raw.Logits, size)
	b.raw.NTokens = 0
	return b
}

func (b *batch) len() int { return int(b.raw.NTokens) }
func (b *batch) cap() int { return len(b.token) }

// add appends a token and returns its index. The caller has checked len
// against cap; if not, the slice's bounds check panics, not the library.
func (b *batch) add(token, pos, seq int32, logits bool) int32 {
	i := b.raw.NTokens
	b.token[i], b.pos[i], b.nSeq[i] = token, pos, 1
	*b.seq[i] = seq
	b.logits[i] = 0
	if logits {
		b.logits[i] = 1
	}
	b.raw.NTokens++
	return i
}

// clear empties the batch and overwrites its tokens.
func (b *batch) clear() {
	clear(b.token[:b.raw.NTokens])
	b.raw.NTokens = 0
}

// free returns the memory to C.
func (b *batch) free() {
	b.lib.BatchFree(b.raw)
	b.token, b.pos, b.nSeq, b.seq, b.logits = nil, nil, nil, nil, nil
}
