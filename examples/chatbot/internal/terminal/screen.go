package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A style is the parameter of an SGR sequence.
type style string

const (
	plain style = ""
	good  style = "32"
	bad   style = "1;31"
	faint style = "2"
)

// A screen prints. It is not safe for concurrent use.
type screen struct {
	out, err io.Writer
	// moves means that err is a terminal that moves its cursor when told;
	// colour that it may be told to change colours.
	moves, colour bool
	// waiting means that the mark of waiting is shown.
	waiting bool
}

func newScreen(o *Options) *screen {
	_, terminal := descriptor(o.Err)
	moves := terminal && os.Getenv("TERM") != "dumb"
	return &screen{
		out: o.Out, err: o.Err, moves: moves,
		colour: moves && !o.NoColor && os.Getenv("NO_COLOR") == "",
	}
}

// descriptor returns the file descriptor of stream, if that is a terminal.
func descriptor(stream any) (int, bool) {
	f, ok := stream.(interface{ Fd() uintptr })
	if !ok {
		return 0, false
	}
	fd := int(f.Fd())
	return fd, term.IsTerminal(fd)
}

// note prints a paragraph to err, made harmless. What err does not take is
// lost: there is nowhere to tell.
func (s *screen) note(st style, format string, args ...any) {
	s.arrived()
	text := clean(fmt.Sprintf(format, args...))
	if !s.colour || st == plain {
		fmt.Fprintln(s.err, text)
		return
	}
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = "\x1b[" + string(st) + "m" + l + "\x1b[0m"
	}
	fmt.Fprintln(s.err, strings.Join(lines, "\n"))
}

// fail tells of an error and what to do about it.
func (s *screen) fail(err error) { s.note(bad, "error: %s", Explain(err)) }

// wait shows on a terminal that an answer is waited for.
func (s *screen) wait() {
	if s.moves && !s.waiting {
		fmt.Fprint(s.err, "…")
		s.waiting = true
	}
}

// arrived takes the mark of waiting away.
func (s *screen) arrived() {
	if s.waiting {
		fmt.Fprint(s.err, "\r\x1b[K")
		s.waiting = false
	}
}
