package llama

import (
	"bytes"
	"unicode/utf8"
)

// text turns the bytes of tokens into text: whole characters only, and nothing
// that may turn out to be part of a stop string.
type text struct {
	stops [][]byte
	raw   []byte // the beginning of a character
	held  []byte // whole characters that may begin a stop string
}

func newText(stops []string) *text {
	t := new(text)
	for _, s := range stops {
		t.stops = append(t.stops, []byte(s))
	}
	return t
}

// push takes a token's bytes and returns the text that is certain now. If a
// stop string is complete, stopped is true and the text is what came before.
// Bytes that are no UTF-8 become U+FFFD, as many as they are.
func (t *text) push(piece []byte) (out string, stopped bool) {
	t.raw = append(t.raw, piece...)
	for len(t.raw) > 0 && utf8.FullRune(t.raw) {
		r, n := utf8.DecodeRune(t.raw)
		t.held = utf8.AppendRune(t.held, r)
		t.raw = t.raw[n:]
	}
	first := -1
	for _, s := range t.stops {
		if i := bytes.Index(t.held, s); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		out = string(t.held[:first])
		t.clear()
		return out, true
	}
	sure := len(t.held) - t.possibleStop()
	out = string(t.held[:sure])
	t.held = t.held[:copy(t.held, t.held[sure:])]
	return out, false
}

// possibleStop returns the length of the longest end of held that a stop
// string begins with.
func (t *text) possibleStop() int {
	longest := 0
	for _, s := range t.stops {
		for n := min(len(s)-1, len(t.held)); n > longest; n-- {
			if bytes.HasSuffix(t.held, s[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// flush returns what is left at the end of the answer.
func (t *text) flush() string {
	if len(t.raw) > 0 {
		t.held = utf8.AppendRune(t.held, utf8.RuneError)
	}
	out := string(t.held)
	t.clear()
	return out
}

// clear overwrites what is held, to its capacity.
func (t *text) clear() {
	clear(t.raw[:cap(t.raw)])
	clear(t.held[:cap(t.held)])
	t.raw, t.held = t.raw[:0], t.held[:0]
}
