package terminal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/inference"
)

// A lineReader reads what the user enters. It is not safe for concurrent use.
type lineReader interface {
	// readLine shows the prompt and returns a line, which can hold newlines if
	// it was pasted. The error is io.EOF at the end of the input,
	// ErrInterrupted after an interrupt, with what was discarded for it,
	// ctx's error, or that of the input.
	readLine(ctx context.Context) (string, error)
	close()
}

// newLineReader reads from a terminal with editing if it can, which takes a
// terminal for the prompt as well, and else plainly.
func newLineReader(o *Options, moves bool) lineReader {
	src := newSource(o.In, o.Interrupts)
	fd, terminal := descriptor(o.In)
	if terminal && moves {
		return newEditor(src, fd, o.Err)
	}
	return &plainReader{src: src, out: o.Err, byHand: terminal}
}

// A source reads in a goroutine of its own, since reading from a terminal
// cannot be interrupted. It reads only when asked to, so that between prompts
// the terminal's input is left alone.
type source struct {
	interrupts <-chan os.Signal
	want       chan struct{}
	got        chan input
	// pending means that a read is under way that nobody waited for.
	pending bool
}

type input struct {
	data []byte
	err  error
}

func newSource(r io.Reader, interrupts <-chan os.Signal) *source {
	s := &source{interrupts: interrupts, want: make(chan struct{}), got: make(chan input, 1)}
	go func() {
		for range s.want {
			buf := make([]byte, 4096)
			n, err := r.Read(buf)
			s.got <- input{buf[:n], err}
		}
	}()
	return s
}

// close ends the goroutine, when it has read what it was last asked for.
func (s *source) close() { close(s.want) }

// read returns some input. After an interrupt or the end of ctx, what comes is
// left for the next call.
func (s *source) read(ctx context.Context) ([]byte, error) {
	if !s.pending {
		s.want <- struct{}{}
		s.pending = true
	}
	select {
	case in := <-s.got:
		s.pending = false
		return in.data, in.err
	case <-s.interrupts:
		return nil, ErrInterrupted
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// maxLine bounds a line of input, in bytes: no question may be longer.
const maxLine = inference.MaxPromptBytes

var errLine = fmt.Errorf("a line of the input is longer than %d MiB", maxLine>>20)

// A plainReader reads lines from a pipe, a file, or a terminal that cannot
// move its cursor.
type plainReader struct {
	src *source
	// byHand means that somebody wants to see the prompt on out.
	byHand bool
	out    io.Writer
	data   []byte // read, and not returned
	end    error  // what the source ended with
}

func (r *plainReader) show(text string) {
	if r.byHand {
		io.WriteString(r.out, text)
	}
}

func (r *plainReader) readLine(ctx context.Context) (string, error) {
	r.show(prompt)
	for searched := 0; ; {
		if i := bytes.IndexByte(r.data[searched:], '\n'); i >= 0 {
			line := string(r.data[:searched+i])
			r.data = r.data[searched+i+1:]
			return strings.TrimSuffix(line, "\r"), nil
		}
		searched = len(r.data)
		if searched > maxLine {
			return "", errLine
		}
		if r.end != nil {
			if searched == 0 || r.end != io.EOF {
				r.show("\n")
				return "", r.end
			}
			line := string(r.data)
			r.data = nil
			return line, nil
		}
		more, err := r.src.read(ctx)
		switch {
		case errors.Is(err, ErrInterrupted):
			// A terminal has discarded its line as well.
			line := string(r.data)
			r.data = nil
			r.show("\n")
			return line, err
		case ctx.Err() != nil && err == ctx.Err():
			r.show("\n")
			return "", err
		}
		r.data = append(r.data, more...)
		r.end = err
	}
}

func (r *plainReader) close() { r.src.close() }
