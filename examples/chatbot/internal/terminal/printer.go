package terminal

import (
	"io"
	"strings"
	"unicode"
)

// maxHeld bounds the white space that a printer holds back, in bytes.
const maxHeld = 4096

// A printer prints one answer as it comes: harmless, without white space
// around it, and with a newline at its end.
type printer struct {
	s *screen
	w sanitizer
	// begun means that something was printed; held is white space that is
	// printed only when more follows.
	begun bool
	held  string
}

func newPrinter(s *screen) *printer {
	return &printer{s: s, w: sanitizer{w: s.out}}
}

// print prints a piece of the answer.
func (p *printer) print(text string) error {
	if !p.begun {
		text = strings.TrimLeftFunc(text, unicode.IsSpace)
	}
	solid := strings.TrimRightFunc(text, unicode.IsSpace)
	space := text[len(solid):]
	if solid == "" && len(p.held)+len(space) <= maxHeld {
		p.held += space
		return nil
	}
	p.s.arrived()
	p.begun = true
	_, err := io.WriteString(&p.w, p.held+solid)
	p.held = space
	return err
}

// end ends the line, if there is one.
func (p *printer) end() error {
	p.s.arrived()
	if !p.begun {
		return nil
	}
	if err := p.w.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(p.s.out, "\n")
	return err
}
