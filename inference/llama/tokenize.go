package llama

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"
	"unsafe"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// A tokenizer reads text with a model's vocabulary. It is used under Model.mu,
// and never changes.
type tokenizer struct {
	lib   *native.Lib
	vocab native.Vocab
	bos   inference.Token // the beginning-of-text token, if a text is to begin with it; else -1

	// newline is how the library reads a line break alone, if it puts a space
	// before every text; else nil.
	newline []inference.Token

	inText    *specials // tokens that text must not have
	inContent *specials // those, and the ones that end an answer
}

// newTokenizer needs m.bos and m.info.
func newTokenizer(m *Model) (*tokenizer, error) {
	t := &tokenizer{lib: m.lib, vocab: m.vocab, bos: -1}
	if m.hasBOS() && m.lib.VocabAddBOS(m.vocab) {
		t.bos = m.bos
	}
	t.readVocabulary(m.info.VocabularySize)
	if m.lib.VocabType(m.vocab) == native.VocabSPM {
		newline, err := t.callOnce(asText, []byte("\n"))
		if err != nil {
			return nil, err
		}
		if len(newline) > 1 && t.spelling(newline[0]) == " " {
			t.newline = newline
		}
	}
	return t, nil
}

func (m *Model) hasBOS() bool {
	return m.bos >= 0 && int(m.bos) < m.info.VocabularySize
}

// A reading is a way to read text.
type reading int

const (
	// asText reads the characters, whatever they spell.
	asText reading = iota
	// asContent does too, and makes sure that none of them ends a turn.
	asContent
	// withEnds is asText with what the model's own rule puts around a text.
	withEnds
	// asMarkup makes what spells a special token that token. Text of a
	// request must never be read so.
	asMarkup
)

// text returns the tokens of a text that begins there: behind the
// beginning-of-text token, if there is to be one. A token for the end, which
// some models want too, would leave nothing to continue.
func (t *tokenizer) text(pieces ...string) ([]inference.Token, error) {
	tokens, err := t.read(asText, false, pieces...)
	if err != nil || t.bos < 0 {
		return tokens, err
	}
	defer clear(tokens)
	return append([]inference.Token{t.bos}, tokens...), nil
}

// read returns the tokens of the text that pieces make together. behind says
// that it stands behind other text, to which it is to be joined.
func (t *tokenizer) read(how reading, behind bool, pieces ...string) ([]inference.Token, error) {
	// Here, so that no text gets to the library without.
	if err := checkRuns(pieces...); err != nil {
		return nil, err
	}
	size := 0
	for _, p := range pieces {
		size += len(p)
	}
	text := make([]byte, 0, size)
	defer func() { clear(text) }()
	for _, p := range pieces {
		text = append(text, p...)
	}
	if how == asMarkup {
		return t.call(how, behind, text)
	}
	// Before the library sees it, which takes a millisecond for each special
	// token that it finds.
	apart := t.mustNotHave(how).cut(text)
	if len(apart) == 1 {
		return t.call(how, behind, text)
	}
	return t.readApart(how, behind, apart)
}

func (t *tokenizer) mustNotHave(how reading) *specials {
	if how == asContent {
		return t.inContent
	}
	return t.inText
}

// readApart returns the tokens of pieces such that none reaches from one into
// the next: what is spelled across a cut stays text. Calls take long, so there
// is one for all, with a character between the pieces that the text does not
// have and whose tokens are taken out again.
func (t *tokenizer) readApart(how reading, behind bool, pieces [][]byte) ([]inference.Token, error) {
	const firstPrivate, tries = '\ue000', 32
	for r := rune(firstPrivate); r < firstPrivate+tries; r++ {
		between := utf8.AppendRune(nil, r)
		if slices.ContainsFunc(pieces, func(p []byte) bool { return bytes.Contains(p, between) }) {
			continue
		}
		mark, err := t.call(asText, true, between)
		if err != nil {
			return nil, err
		}
		text := bytes.Join(pieces, between)
		tokens, err := t.readMarked(how, behind, text, mark, len(pieces)-1)
		clear(text)
		if tokens != nil || err != nil {
			return tokens, err
		}
	}
	return nil, &inference.RequestError{Field: "Prompt", Reason: "it spells special tokens and cannot be told from them", Err: inference.ErrInvalidRequest}
}

// readMarked reads text and takes out mark, which is there n times. It returns
// nil if the marks cannot be told from the text.
func (t *tokenizer) readMarked(how reading, behind bool, text []byte, mark []inference.Token, n int) ([]inference.Token, error) {
	// The marks make runs longer.
	if err := checkRuns(unsafe.String(unsafe.SliceData(text), len(text))); err != nil {
		return nil, err
	}
	tokens, err := t.call(how, behind, text)
	if err != nil || len(mark) == 0 {
		return nil, err
	}
	out := tokens[:0]
	for i := 0; i < len(tokens); i++ {
		if rest := tokens[i:]; len(rest) >= len(mark) && slices.Equal(rest[:len(mark)], mark) {
			n--
			i += len(mark) - 1
			continue
		}
		out = append(out, tokens[i])
	}
	clear(tokens[len(out):])
	if n != 0 || t.mustNotHave(how).among(out) {
		clear(out)
		return nil, nil
	}
	return out, nil
}

// call returns the tokens of text. Behind other text there is none of the
// space that some models put before all text.
func (t *tokenizer) call(how reading, behind bool, text []byte) ([]inference.Token, error) {
	if !behind || t.newline == nil {
		return t.callOnce(how, text)
	}
	// No token goes on behind a line break, and what goes before it is known.
	line := append(append(make([]byte, 0, len(text)+1), '\n'), text...)
	defer clear(line)
	tokens, err := t.callOnce(how, line)
	if n := len(t.newline); err == nil && len(tokens) >= n && slices.Equal(tokens[:n], t.newline) {
		return tokens[n:], nil
	}
	clear(tokens)
	return t.callOnce(how, text)
}

// callOnce calls the library.
func (t *tokenizer) callOnce(how reading, text []byte) ([]inference.Token, error) {
	first := new(byte) // an empty text needs an address too
	if len(text) > 0 {
		first = &text[0]
	}
	// A token has at least one byte; two more for the ends of the text, and
	// one for the space that some models put before it.
	out := make([]int32, len(text)+3)
	defer clear(out)
	n := t.lib.Tokenize(t.vocab, first, int32(len(text)), &out[0], int32(len(out)), how == withEnds, how == asMarkup)
	if n < 0 || int(n) > len(out) {
		return nil, fmt.Errorf("llama: tokenizing failed with %d", n)
	}
	tokens := make([]inference.Token, n)
	for i := range tokens {
		tokens[i] = inference.Token(out[i])
	}
	return tokens, nil
}

// joins says whether text behind tokens is to be joined to text: behind a
// special token the library begins anew.
func (t *tokenizer) joins(tokens []inference.Token) bool {
	n := len(tokens)
	return n > 0 && t.attr(tokens[n-1])&(native.AttrControl|native.AttrUserDefined) == 0
}

// attr returns the attributes of a token.
func (t *tokenizer) attr(token inference.Token) int32 {
	return t.lib.VocabAttr(t.vocab, int32(token))
}

// spelling returns the text of a token, special ones included.
func (t *tokenizer) spelling(token inference.Token) string {
	buf := make([]byte, 64)
	n := t.lib.TokenToPiece(t.vocab, int32(token), &buf[0], int32(len(buf)), 0, true)
	if n < 0 {
		buf = make([]byte, -n)
		n = t.lib.TokenToPiece(t.vocab, int32(token), &buf[0], int32(len(buf)), 0, true)
	}
	return string(buf[:max(n, 0)])
}

// inField makes an error about Prompt one about another field.
func inField(field string, err error) error {
	var re *inference.RequestError
	if errors.As(err, &re) && re.Field == "Prompt" {
		return &inference.RequestError{Field: field, Reason: re.Reason, Err: re.Err}
	}
	return err
}
