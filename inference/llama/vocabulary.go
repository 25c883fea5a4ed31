package llama

import "github.com/nitroseal/nitroseal/inference/llama/internal/native"

// A vocabulary has the texts of the tokens. Only the scheduler's goroutine uses
// it.
type vocabulary struct {
	lib   *native.Lib
	vocab native.Vocab
	n     int
	texts []string // nil until one is needed for a grammar
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

// text returns the same, without a call of the library: a grammar asks for
// the whole vocabulary again and again.
func (w *vocabulary) text(token int32) string {
	w.load()
	return w.texts[token]
}

// ends says whether a token ends the answer.
func (w *vocabulary) ends(token int32) bool {
	if w.end != nil {
		return w.end[token]
	}
	return w.lib.VocabIsEOG(w.vocab, token)
}

func (w *vocabulary) load() {
	if w.texts != nil {
		return
	}
	w.texts, w.end = make([]string, w.n), make([]bool, w.n)
	for i := range w.n {
		w.texts[i] = string(w.bytes(int32(i)))
		w.end[i] = w.lib.VocabIsEOG(w.vocab, int32(i))
	}
}
