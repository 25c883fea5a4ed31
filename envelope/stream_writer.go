package envelope

import (
	"fmt"
	"io"
)

// Writer seals what is written to it. Segments are encrypted in goroutines of
// their own while the next ones are filled; everything that goes to the
// underlying writer goes there during Write and Close. It holds at most
// 2×Workers+3 segments. A Writer is not safe for concurrent use.
type Writer struct {
	w       io.Writer
	cipher  *segmentCipher
	size    int // of a segment
	most    int // segments under way
	current *segment
	queue   []*segment // under way, in order
	free    [][]byte
	err     error
}

// newWriter writes header and body header. room is how long the plaintext is
// at most, or -1 if that is not known.
func newWriter(w io.Writer, dataKey, header []byte, body [bodyHeaderSize]byte, size, workers, room int) (*Writer, error) {
	c, err := newSegmentCipher(dataKey, header, body)
	if err != nil {
		return nil, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	if _, err := w.Write(append(framed(header), body[:]...)); err != nil {
		return nil, fmt.Errorf("envelope: writing a sealed stream: %w", err)
	}
	capacity := size
	if room >= 0 {
		capacity = min(size, room+tagSize)
	}
	return &Writer{
		w: w, cipher: c, size: size, most: 2*workers + 2,
		current: &segment{buf: make([]byte, 0, capacity), done: make(chan struct{})},
	}, nil
}

// Write takes plaintext. Errors are those of the underlying writer, and stay.
func (w *Writer) Write(p []byte) (int, error) {
	written := 0
	for w.err == nil && len(p) > 0 {
		s := w.current
		most := sealedSize(s.number, w.size) - tagSize
		if len(s.buf) == most {
			// Only now is it known that this one is not the last.
			w.err = w.advance()
			continue
		}
		n := min(len(p), most-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		written += n
	}
	return written, w.err
}

// advance starts sealing the current segment and begins another.
func (w *Writer) advance() error {
	s := w.current
	if s.number == maxSegment {
		return errStreamFull
	}
	w.start(s)
	if len(w.queue) == w.most {
		if err := w.flush(); err != nil {
			return err
		}
	}
	var buf []byte
	if n := len(w.free); n > 0 {
		buf, w.free = w.free[n-1][:0], w.free[:n-1]
	} else {
		buf = make([]byte, 0, w.size)
	}
	w.current = &segment{number: s.number + 1, buf: buf, done: make(chan struct{})}
	return nil
}

func (w *Writer) start(s *segment) {
	w.current = nil
	w.queue = append(w.queue, s)
	go s.seal(w.cipher)
}

// flush writes the oldest segment under way.
func (w *Writer) flush() error {
	s := w.queue[0]
	w.queue = w.queue[1:]
	<-s.done
	if _, err := w.w.Write(s.buf); err != nil {
		return fmt.Errorf("envelope: writing a sealed stream: %w", err)
	}
	w.free = append(w.free, s.buf)
	return nil
}

// Close seals the end of the stream and writes what is left. Without it the
// stream does not open. It says that the plaintext is complete: after a failure
// to produce the rest call Abort, not Close. The underlying writer stays open.
func (w *Writer) Close() error {
	if w.err == nil {
		w.current.last = true
		w.start(w.current)
		for w.err == nil && len(w.queue) > 0 {
			w.err = w.flush()
		}
	}
	err := w.err
	w.Abort()
	return err
}

// Abort gives the stream up and clears plaintext that it holds. What was
// written until then does not open to its end. After Close it does nothing, so
// it can be deferred.
func (w *Writer) Abort() {
	for _, s := range w.queue {
		<-s.done // sealed: ciphertext
	}
	if w.current != nil {
		clear(w.current.buf)
	}
	w.queue, w.current, w.free, w.cipher = nil, nil, nil, nil
	w.err = errStreamClosed
}
