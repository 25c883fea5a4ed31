package blog

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/envelope"
)

// member is the JSON object {"name": "value"}, with the space that Python
// writes: a user sees the answer's JSON text.
func member(name, value string) []byte {
	b := append([]byte(`{"`), name...)
	b = append(b, `": `...)
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	// A string always encodes, with U+FFFD for what is not UTF-8.
	_ = e.Encode(value)
	b = append(b, bytes.TrimSuffix(text.Bytes(), []byte("\n"))...)
	return append(b, '}')
}

// encodeResults is the plaintext of a reply. Where text does not fit into what
// KMS encrypts, it is cut at a character border, so that the JSON stays whole.
// A cut is not marked: the protocol has no place for that.
func encodeResults(text string) []byte {
	for {
		b := member("Results", text)
		excess := len(b) - envelope.MaxPlaintext
		if excess <= 0 {
			return b
		}
		// One byte of text is at most six of JSON (\u0000), so cutting a
		// sixth of the excess never cuts more than must go.
		text = cutAt(text, len(text)-(excess+5)/6)
		clear(b)
	}
}

// cutAt returns the longest prefix of text of at most n bytes that ends at a
// character border.
func cutAt(text string, n int) string {
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}
