package terminal

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"plain text, naïve café, 漢字, 🙂", "plain text, naïve café, 漢字, 🙂"},
		{"a\nb\tc", "a\nb\tc"},
		{"a\r\nb", "a\nb"},
		{"a\rb", "a�b"},
		{"a\r\r\nb", "a�\nb"},
		{"a\r", "a�"},
		{"\x1b[31mred\x1b[0m", "�[31mred�[0m"},
		{"\x1b]0;title\x07", "�]0;title�"},
		{"bell\a back\b del\x7f nul\x00", "bell� back� del� nul�"},
		{"\u009b31m", "�31m"},                   // CSI as one character
		{"\u0085", "�"},                         // next line
		{"\x9b31m", "�31m"},                     // CSI as one byte: not UTF-8
		{"admin\u202egnp.exe", "admin�gnp.exe"}, // an override
		{"\u2066a\u2069", "�a�"},                // isolates
		{"שלום\u200f!", "שלום\u200f!"},          // a mark is needed, and overrides nothing
		{"\xff\xfe", "��"},
		{"\xe6\xbc", "��"}, // cut within a character
	} {
		if got := clean(c.in); got != c.want {
			t.Errorf("%q: %q, want %q", c.in, got, c.want)
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\nb\tc\x1b"); got != "a b c�" {
		t.Errorf("%q", got)
	}
	if got := oneLine(strings.Repeat("é", 200)); got != strings.Repeat("é", 100)+"…" {
		t.Errorf("%q", got)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errTest }

func TestSanitizerReportsErrors(t *testing.T) {
	s := sanitizer{w: brokenWriter{}}
	if _, err := s.Write([]byte("a")); !errors.Is(err, errTest) {
		t.Error(err)
	}
	s = sanitizer{w: brokenWriter{}}
	if _, err := s.Write([]byte("\r")); err != nil {
		t.Error(err)
	}
	if err := s.Flush(); !errors.Is(err, errTest) {
		t.Error(err)
	}
}

// Whatever comes, in whatever pieces: what is written is valid and harmless,
// does not depend on the pieces, and lacks nothing that is harmless.
func FuzzSanitizer(f *testing.F) {
	f.Add("a\r\nb\x1b[31m\u009b漢\u202e\xff", uint8(3))
	f.Add("\xe6\xbc\xa2\r", uint8(1))
	f.Fuzz(func(t *testing.T, in string, step uint8) {
		var b strings.Builder
		s := sanitizer{w: &b}
		for rest := in; rest != ""; {
			n := min(int(step)+1, len(rest))
			if _, err := s.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		s.Flush()
		got := b.String()
		if !utf8.ValidString(got) {
			t.Fatalf("%q is not UTF-8", got)
		}
		if got != clean(in) {
			t.Fatalf("in pieces %q, at once %q", got, clean(in))
		}
		for _, r := range got {
			if unicode.IsControl(r) && r != '\n' && r != '\t' || unicode.Is(unicode.Bidi_Control, r) && r != '\u061c' && r != '\u200e' && r != '\u200f' {
				t.Fatalf("%q holds %U", got, r)
			}
		}
		if a, b := strings.Map(harmless, in), strings.Map(harmless, got); a != b {
			t.Fatalf("harmless text changed from %q to %q", a, b)
		}
	})
}

// harmless drops what the sanitizer replaces, and what it replaces it by.
func harmless(r rune) rune {
	if r == utf8.RuneError || unicode.IsControl(r) && r != '\n' && r != '\t' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
		return -1
	}
	return r
}
