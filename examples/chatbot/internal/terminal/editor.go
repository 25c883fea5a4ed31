package terminal

import (
	"context"
	"errors"
	"fmt"
	"io"

	"golang.org/x/term"
)

// prompt is shown where a question may be entered.
const prompt = "> "

// An editor reads lines from a terminal, which can be edited and recalled, by
// way of golang.org/x/term. That counts every character as one column: with
// wide ones the cursor is shown in a wrong place, but the text is right.
type editor struct {
	src  *source
	fd   int
	out  io.Writer
	term *term.Terminal
	// history is kept in memory only.
	history *history
	keys    keys
	// ctx is that of the readLine under way, and failed the error that it has
	// met beneath x/term.
	ctx    context.Context
	failed error
}

func newEditor(src *source, fd int, out io.Writer) *editor {
	e := &editor{src: src, fd: fd, out: out, history: &history{}}
	e.term = term.NewTerminal(e, prompt)
	e.term.History = e.history
	return e
}

// readLine puts the terminal into raw mode and back again on every way out.
func (e *editor) readLine(ctx context.Context) (line string, err error) {
	old, err := term.MakeRaw(e.fd)
	if err != nil {
		return "", fmt.Errorf("cannot set the terminal up: %w", err)
	}
	defer func() {
		e.term.SetBracketedPasteMode(false)
		if failed := term.Restore(e.fd, old); err == nil && failed != nil {
			err = fmt.Errorf("cannot set the terminal back: %w", failed)
		}
	}()
	e.term.SetBracketedPasteMode(true)
	e.resize()
	e.ctx, e.failed = ctx, nil
	e.history.closed = false
	line, err = e.term.ReadLine()
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil // keys has joined the lines
	}
	if e.failed != nil {
		err = e.failed
	}
	if err != nil && !errors.Is(err, ErrInterrupted) {
		io.WriteString(e.out, "\r\n")
	}
	return unpaste(line), err
}

// resize follows the size of the terminal. It is asked for before each key:
// that needs no signal.
func (e *editor) resize() {
	if width, height, err := term.GetSize(e.fd); err == nil && width > 0 {
		e.term.SetSize(width, height)
	}
}

func (e *editor) close() { e.src.close() }

// Write is for x/term.
func (e *editor) Write(p []byte) (int, error) { return e.out.Write(p) }

// Read is for x/term, which gets only keys that it knows. An interrupt it gets
// as the end of the line, so that it begins a new one.
func (e *editor) Read(p []byte) (int, error) {
	for {
		if n := e.keys.read(p); n > 0 {
			return n, nil
		}
		if e.keys.interrupted() {
			return e.interrupt(p), nil
		}
		e.resize()
		data, err := e.src.read(e.ctx)
		e.keys.feed(data)
		switch {
		case errors.Is(err, ErrInterrupted):
			e.keys.cancel()
		case err != nil && len(data) == 0:
			e.failed = err
			return 0, err
		}
	}
}

// interrupt ends the line without a trace in the history.
func (e *editor) interrupt(p []byte) int {
	e.failed = ErrInterrupted
	e.history.closed = true
	return copy(p, "\r")
}
