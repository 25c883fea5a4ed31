package llama

import (
	"sync"

	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// A vocabulary has the texts of the tokens. It is safe for concurrent use.
type vocabulary struct {
	lib   *native.Lib
	vocab native.Vocab
	n     int

	once  sync.Once // guards what follows
	texts []string
	end   []bool
}

// bytes returns a token's bytes; control tokens have none.
func (w *vocabulary) bytes(token int32) []byte {
	buf := make([]byte, 64)
	n := w.lib.TokenToPiece(w.vocab, token, &buf[0], int32(len(buf)), 0, false)
	if n < 0 {
		buf = make([]byte, -n)
		n = w.lib.TokenToPiece(w.vocab, token, &buf[0], int32(len(buf)), 0, false)
	}
	return buf[:max(n, 0)]
}

// load reads the whole vocabulary once, for grammars, which ask for it again
// and again.
func (w *vocabulary) load() {
	w.once.Do(func() {
		w.texts, w.end = make([]string, w.n), make([]bool, w.n)
		for i := range w.n {
			w.texts[i] = string(w.bytes(int32(i)))
			w.end[i] = w.ends(int32(i))
		}
	})
}

// ends says whether a token ends the answer.
func (w *vocabulary) ends(token int32) bool { return w.lib.VocabIsEOG(w.vocab, token) }
