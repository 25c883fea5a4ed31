package terminal

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// decoded is what x/term reads of in, which comes in pieces, with | for an
// interrupt.
func decoded(in string, step int) string {
	var k keys
	var out []byte
	p := make([]byte, 16)
	for {
		for {
			if n := k.read(p); n > 0 {
				out = append(out, p[:n]...)
			} else if k.interrupted() {
				out = append(out, '|')
			} else {
				break
			}
		}
		if in == "" {
			return string(out)
		}
		n := min(step, len(in))
		k.feed([]byte(in[:n]))
		in = in[n:]
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"abc é 漢\r", "abc é 漢\r"},
		{"a\x01\x05\x15\x7fb\n", "a\x01\x05\x15\x7fb\n"},
		{"\x1b[A\x1b[B\x1b[C\x1b[D\x1b[3~", "\x1b[A\x1b[B\x1b[C\x1b[D\x1b[3~"},
		{"\x1bOA\x1bOD\x1b[1~\x1b[4~\x1bOH\x1b[1;5D\x1bf", "\x1b[A\x1b[D\x1b[H\x1b[F\x1b[H\x1b[1;3D\x1b[1;3C"},
		{"a\x1b[15~b\x1b[?1;2cc\x1bxd", "abcd"},                                          // unknown keys, an answer, Alt-x
		{"a\x1b[\x03b", "a|b"},                                                           // Ctrl-C within a sequence
		{"a\x1b\x1b[Ab", "a\x1b[Ab"},                                                     // Escape and then up
		{"a\x1b[" + strings.Repeat("1", 40) + "b", "a[" + strings.Repeat("1", 40) + "b"}, // no sequence
		{"a\xffb\xc3c\u009bd\u202ee", "abcde"},                                           // not UTF-8, C1, an override
		{"ab\x03cd\r\x03", "ab|cd\r|"},
		{pasteStart + "a\nb\r\nc\rd\te" + pasteEnd + "\r", pasteStart + "a␤b␤c␤d␉e" + pasteEnd + "\r"},
		{pasteStart + "a\x1b[31mb\x00\x15\x7f\u009b\u202ec\x04" + pasteEnd, pasteStart + "a[31mbc" + pasteEnd},
		{pasteStart + "a\x1b[20x" + pasteEnd, pasteStart + "a[20x" + pasteEnd},
		{pasteStart + "a\x03b\n", pasteStart + "a" + pasteEnd + "|b\n"}, // a paste without end can be left
		{pasteEnd + "a", "a"},
	} {
		for step := 1; step < 12; step++ {
			if got := decoded(c.in, step); got != c.want {
				t.Errorf("%q in pieces of %d: %q, want %q", c.in, step, got, c.want)
			}
		}
	}
}

func TestPasteIsBounded(t *testing.T) {
	got := decoded(pasteStart+strings.Repeat("a", maxPaste+10)+pasteEnd+"b", 4096)
	if want := len(pasteStart) + maxPaste + len(pasteEnd) + 1; len(got) != want || !strings.HasSuffix(got, pasteEnd+"b") {
		t.Errorf("%d bytes, want %d", len(got), want)
	}
}

func TestUnpaste(t *testing.T) {
	if got := unpaste("a␤b␉c"); got != "a\nb\tc" {
		t.Errorf("%q", got)
	}
}

// Whatever a terminal sends, x/term gets whole characters and known keys only,
// the same whatever the pieces, and as long as more comes nothing is held back
// for ever.
func FuzzKeys(f *testing.F) {
	f.Add([]byte("a\x1b[A\x1bOB\x03"+pasteStart+"a\r\n\x1b[201~\r"), uint8(3))
	f.Add([]byte("\x1b[\xff\x1b\x1b[1;5D\xe6\xbc"), uint8(1))
	known := []string{pasteEnd}
	for _, s := range sequences {
		known = append(known, s)
	}
	f.Fuzz(func(t *testing.T, in []byte, step uint8) {
		got := decoded(string(in), int(step)+1)
		if all := decoded(string(in), len(in)+1); got != all {
			t.Fatalf("in pieces %q, at once %q", got, all)
		}
		for rest := []byte(got); len(rest) > 0; {
			if rest[0] == escape {
				i := slices.IndexFunc(known, func(s string) bool { return bytes.HasPrefix(rest, []byte(s)) })
				if i < 0 {
					t.Fatalf("%q holds an unknown sequence", got)
				}
				rest = rest[len(known[i]):]
				continue
			}
			r, n := utf8.DecodeRune(rest)
			if r == utf8.RuneError || r >= 0x80 && obeyed(r) {
				t.Fatalf("%q holds %U", got, r)
			}
			rest = rest[n:]
		}
		if tail := decoded(string(in)+strings.Repeat("z", maxSequence), 64); !strings.HasSuffix(tail, "z") {
			t.Fatalf("%q swallows what follows", in)
		}
	})
}
