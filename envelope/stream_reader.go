package envelope

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// Reader opens a sealed stream from its beginning to its end. It reads ahead,
// 2×Workers+2 segments at most, and decrypts them in goroutines of their own;
// plaintext of a segment is released when it and all segments before it are
// authentic. Everything read from the underlying reader is read during Read and
// WriteTo. A Reader is not safe for concurrent use.
//
// Only io.EOF says that the stream is complete. Whoever acts on the beginning
// earlier acts on a stream that may have been cut short.
type Reader struct {
	r      *bufio.Reader
	cipher *segmentCipher
	size   int // of a segment
	most   int // segments under way
	next   int64
	queue  []*segment // under way, in order
	end    error      // why no more segments are read: io.EOF or a failure
	plain  []byte     // authentic, not yet released
	whole  []byte     // the buffer that plain is in
	free   [][]byte
	err    error
}

// newReader takes the body.
func newReader(r io.Reader, dataKey, header []byte, size, workers int) (*Reader, error) {
	var body [bodyHeaderSize]byte
	if err := readBodyHeader(r, &body); err != nil {
		return nil, err
	}
	c, err := newSegmentCipher(dataKey, header, body)
	if err != nil {
		return nil, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	return &Reader{r: bufio.NewReader(r), cipher: c, size: size, most: 2*workers + 2}, nil
}

func readBodyHeader(r io.Reader, body *[bodyHeaderSize]byte) error {
	if err := readHeaderBytes(r, body[:]); err != nil {
		return err
	}
	if body[0] != bodyHeaderSize {
		return headerError("wrong length of the body's header")
	}
	return nil
}

// Read releases authentic plaintext. Errors: ErrStream, and those of the
// underlying reader. They stay.
func (r *Reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := r.fill(); err != nil {
		return 0, err
	}
	n := copy(p, r.plain)
	r.plain = r.plain[n:]
	return n, nil
}

// WriteTo releases the rest of the plaintext to w, segment by segment.
func (r *Reader) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		if err := r.fill(); err == io.EOF {
			return written, nil
		} else if err != nil {
			return written, err
		}
		n, err := w.Write(r.plain)
		written += int64(n)
		r.plain = r.plain[n:]
		if err != nil {
			return written, err
		}
		if len(r.plain) > 0 {
			return written, io.ErrShortWrite
		}
	}
}

// fill sees to it that there is plaintext to release.
func (r *Reader) fill() error {
	for r.err == nil && len(r.plain) == 0 {
		if r.whole != nil {
			r.free = append(r.free, r.whole)
			r.whole = nil
		}
		for r.end == nil && len(r.queue) < r.most {
			r.end = r.readAhead()
		}
		if len(r.queue) == 0 {
			r.fail(r.end)
			break
		}
		s := r.queue[0]
		r.queue = r.queue[1:]
		<-s.done
		r.whole = s.buf
		if s.err != nil {
			r.fail(s.err)
			break
		}
		r.plain = s.buf
	}
	return r.err
}

// readAhead reads a segment and starts to open it. It returns io.EOF with the
// last one.
func (r *Reader) readAhead() error {
	var buf []byte
	if n := len(r.free); n > 0 {
		buf, r.free = r.free[n-1], r.free[:n-1]
	} else {
		buf = make([]byte, r.size)
	}
	s := &segment{number: r.next, done: make(chan struct{})}
	n, err := io.ReadFull(r.r, buf[:sealedSize(r.next, r.size)])
	if err == nil {
		_, err = r.r.Peek(1) // it is the last if nothing follows
	}
	switch {
	case err == nil:
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.last = true
		err = io.EOF
	default:
		return fmt.Errorf("envelope: reading a sealed stream: %w", err)
	}
	s.buf = buf[:n]
	r.next++
	r.queue = append(r.queue, s)
	go s.open(r.cipher)
	return err
}

// fail ends the stream and clears what is not released.
func (r *Reader) fail(err error) {
	r.err = err
	for _, s := range r.queue {
		<-s.done
		clear(s.buf)
	}
	clear(r.whole)
	for _, b := range r.free {
		clear(b[:cap(b)])
	}
	r.queue, r.plain, r.whole, r.free, r.cipher = nil, nil, nil, nil, nil
}

// Close clears the plaintext that the Reader holds. The underlying reader stays
// open.
func (r *Reader) Close() error {
	r.fail(errStreamClosed)
	return nil
}
