package llama

import (
	"strings"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// specials are the tokens that the library makes of what text spells although
// it is told not to: it leaves control tokens in text alone, but not the ones
// that it calls user-defined, and some models have markers among these.
type specials struct {
	tokens map[inference.Token]bool
	words  words
}

func newSpecials() *specials {
	return &specials{tokens: make(map[inference.Token]bool), words: words{}}
}

// add adds a token, but for white space, which is text for all, and single
// characters, in which nothing can be cut.
func (s *specials) add(token inference.Token, spelling string, spaceToo bool) {
	if utf8.RuneCountInString(spelling) > 1 && (spaceToo || strings.TrimSpace(spelling) != "") {
		s.tokens[token] = true
		s.words.add(spelling)
	}
}

// among says whether one of the tokens is special.
func (s *specials) among(tokens []inference.Token) bool {
	for _, t := range tokens {
		if s.tokens[t] {
			return true
		}
	}
	return false
}

// cut cuts text so that no special token is spelled in one piece: behind the
// first character of each, overlapping ones too.
func (s *specials) cut(text []byte) [][]byte {
	var pieces [][]byte
	from := 0
	for i := range text {
		if s.words.begin(text[i:]) {
			_, n := utf8.DecodeRune(text[i:])
			pieces = append(pieces, text[from:i+n])
			from = i + n
		}
	}
	return append(pieces, text[from:])
}

// words is a set of words: what may come next after each byte. The zero byte
// behind which there is nil ends a word; spellings have none.
type words map[byte]words

func (w words) add(word string) {
	for _, b := range []byte(word) {
		if w[b] == nil {
			w[b] = words{}
		}
		w = w[b]
	}
	w[0] = nil
}

// begin says whether text begins with one of the words.
func (w words) begin(text []byte) bool {
	for _, b := range text {
		if w = w[b]; w == nil {
			return false
		}
		if _, ends := w[0]; ends {
			return true
		}
	}
	return false
}

// readVocabulary asks for the kind of each token, which takes a tenth of a
// second for 250,000 of them.
func (t *tokenizer) readVocabulary(size int) {
	t.inText, t.inContent = newSpecials(), newSpecials()
	for i := range inference.Token(size) {
		userDefined := t.attr(i)&native.AttrUserDefined != 0
		ends := t.attr(i)&native.AttrControl == 0 && t.lib.VocabIsEOG(t.vocab, int32(i))
		if !userDefined && !ends {
			continue
		}
		spelling := t.spelling(i)
		if userDefined {
			t.inText.add(i, spelling, false)
		}
		t.inContent.add(i, spelling, ends)
	}
}
