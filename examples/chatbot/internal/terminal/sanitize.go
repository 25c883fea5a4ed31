package terminal

import (
	"bytes"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// obeyed reports whether a terminal may obey r in place of showing it, or show
// what follows in another order than it was written.
func obeyed(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069':
		return true
	}
	return unicode.IsControl(r)
}

// clean makes text harmless: see the package comment.
func clean(text string) string {
	var b strings.Builder
	s := sanitizer{w: &b}
	s.Write([]byte(text)) // a strings.Builder takes everything
	s.Flush()
	return b.String()
}

// oneLine is clean for text that has to stay within a line: a name. It is cut
// at 100 characters.
func oneLine(text string) string {
	const most = 100
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		return r
	}, clean(text))
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

// A sanitizer makes text harmless on its way to w, whatever pieces it comes
// in. What it writes is valid UTF-8.
type sanitizer struct {
	w io.Writer
	// part is the beginning of a character, at most three bytes.
	part []byte
	// cr means that a carriage return was read, and not what follows it.
	cr bool
}

// Write fails where w does. It reports all of p as written.
func (s *sanitizer) Write(p []byte) (int, error) {
	var out bytes.Buffer
	rest := append(s.part, p...)
	s.part = nil
	for len(rest) > 0 {
		if !utf8.FullRune(rest) {
			s.part = bytes.Clone(rest)
			break
		}
		r, n := utf8.DecodeRune(rest)
		rest = rest[n:]
		if s.cr && r != '\n' {
			out.WriteRune(unicode.ReplacementChar)
		}
		s.cr = r == '\r'
		switch {
		case s.cr:
		case obeyed(r):
			out.WriteRune(unicode.ReplacementChar)
		default:
			out.WriteRune(r)
		}
	}
	if out.Len() > 0 {
		if _, err := s.w.Write(out.Bytes()); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Flush writes what was held back. It ends the text.
func (s *sanitizer) Flush() error {
	n := len(s.part)
	if s.cr {
		n++
	}
	s.part, s.cr = nil, false
	if n == 0 {
		return nil
	}
	_, err := io.WriteString(s.w, strings.Repeat(string(unicode.ReplacementChar), n))
	return err
}
