package terminal

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// In the line that is edited these stand for the newlines and tabs of a
// pasted text, which stays one question. They are as rare as can be shown.
const (
	pastedNewline = '␤'
	pastedTab     = '␉'
)

// unpaste gives a pasted text its newlines and tabs back.
func unpaste(line string) string {
	return strings.NewReplacer(string(pastedNewline), "\n", string(pastedTab), "\t").Replace(line)
}

const (
	ctrlC      = 0x03
	escape     = 0x1b
	pasteStart = "\x1b[200~"
	pasteEnd   = "\x1b[201~"
	// maxSequence bounds an escape sequence: longer ones are not of keys.
	maxSequence = 32
	// maxPaste bounds a pasted text, in bytes. The rest of it is dropped.
	maxPaste = maxLine
)

// sequences are what terminals send for the keys that x/term knows, and how it
// knows them.
var sequences = map[string]string{
	pasteStart: pasteStart,
	"\x1b[A":   "\x1b[A", "\x1bOA": "\x1b[A", // up
	"\x1b[B": "\x1b[B", "\x1bOB": "\x1b[B", // down
	"\x1b[C": "\x1b[C", "\x1bOC": "\x1b[C", // right
	"\x1b[D": "\x1b[D", "\x1bOD": "\x1b[D", // left
	"\x1b[H": "\x1b[H", "\x1bOH": "\x1b[H", "\x1b[1~": "\x1b[H", "\x1b[7~": "\x1b[H", // home
	"\x1b[F": "\x1b[F", "\x1bOF": "\x1b[F", "\x1b[4~": "\x1b[F", "\x1b[8~": "\x1b[F", // end
	"\x1b[3~":   "\x1b[3~",                                                   // delete
	"\x1b[1;3C": "\x1b[1;3C", "\x1bf": "\x1b[1;3C", "\x1b[1;5C": "\x1b[1;3C", // a word to the right
	"\x1b[1;3D": "\x1b[1;3D", "\x1bb": "\x1b[1;3D", "\x1b[1;5D": "\x1b[1;3D", // a word to the left
}

// keys turns what a terminal sends into what x/term can read: whole and valid
// characters, and keys that it knows. Everything else is dropped, for x/term
// would wait in it, or echo it. The zero value is ready.
type keys struct {
	in, out []byte
	// pasting means that a pasted text is being read, pasted that so much of
	// it was; cr that its last byte was a carriage return.
	pasting bool
	pasted  int
	cr      bool
	// cancelled means that Ctrl-C follows what is in out.
	cancelled bool
}

// read moves what is ready to p.
func (k *keys) read(p []byte) int {
	if len(k.out) == 0 && !k.cancelled {
		k.decode()
	}
	n := copy(p, k.out)
	k.out = k.out[n:]
	return n
}

// interrupted reports, once, that Ctrl-C comes next.
func (k *keys) interrupted() bool {
	was := k.cancelled && len(k.out) == 0
	if was {
		k.cancelled = false
	}
	return was
}

// cancel is Ctrl-C from elsewhere.
func (k *keys) cancel() {
	k.endPaste()
	k.cancelled = true
}

// feed adds what the terminal has sent.
func (k *keys) feed(data []byte) { k.in = append(k.in, data...) }

// decode goes on until Ctrl-C, or until what is left is the beginning of
// something.
func (k *keys) decode() {
	for len(k.in) > 0 && !k.cancelled {
		n := k.one()
		if n == 0 {
			return
		}
		k.in = k.in[n:]
	}
}

// one decodes one key and returns its length, or 0 if more has to come first.
func (k *keys) one() int {
	b := k.in[0]
	switch {
	case b == ctrlC:
		k.cancel()
		return 1
	case b == escape && k.pasting:
		return k.escapeInPaste()
	case b == escape:
		return k.sequence()
	case !utf8.FullRune(k.in):
		return 0
	}
	r, n := utf8.DecodeRune(k.in)
	switch {
	case k.pasting:
		k.paste(r)
	case r < 0x20 || r == 0x7f:
		k.out = append(k.out, b) // x/term knows them, or does nothing
	case r != utf8.RuneError && !obeyed(r):
		k.out = append(k.out, k.in[:n]...)
	}
	return n
}

// paste takes a character of a pasted text.
func (k *keys) paste(r rune) {
	afterCR := k.cr
	k.cr = r == '\r'
	switch {
	case r == '\n' && afterCR: // one newline with what came before
		return
	case r == '\n', r == '\r':
		r = pastedNewline
	case r == '\t':
		r = pastedTab
	case r == utf8.RuneError, obeyed(r):
		return
	}
	if k.pasted += utf8.RuneLen(r); k.pasted <= maxPaste {
		k.out = utf8.AppendRune(k.out, r)
	}
}

func (k *keys) endPaste() {
	if k.pasting {
		k.out = append(k.out, pasteEnd...)
	}
	k.pasting, k.pasted, k.cr = false, 0, false
}

// escapeInPaste ends the paste, or drops an escape character from it.
func (k *keys) escapeInPaste() int {
	switch {
	case bytes.HasPrefix(k.in, []byte(pasteEnd)):
		k.endPaste()
		return len(pasteEnd)
	case strings.HasPrefix(pasteEnd, string(k.in)):
		return 0
	}
	return 1
}

// sequence takes an escape sequence: ESC, a character of which "[" and "O"
// begin a longer one, parameters, and a final character (ECMA-48, 5.4).
func (k *keys) sequence() int {
	end := 0
	for i, b := range k.in[1:min(len(k.in), maxSequence)] {
		if i == 0 && (b == '[' || b == 'O') {
			continue
		}
		if i == 0 || b < 0x20 || b > 0x3f {
			end = i + 2
			break
		}
	}
	switch {
	case end == 0 && len(k.in) < maxSequence:
		return 0
	case end == 0:
		return 1
	}
	last := k.in[end-1]
	if last < 0x20 || last > 0x7e {
		return end - 1 // not of a sequence, but a key of its own
	}
	known := sequences[string(k.in[:end])]
	k.out = append(k.out, known...)
	k.pasting = known == pasteStart
	return end
}
