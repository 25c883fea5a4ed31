package envelope

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// ReaderAt opens a sealed stream at any place. Each read decrypts the segments
// that it touches, those of one read at the same time; the segment that was
// read last on its own is kept, so that small reads in a row decrypt it once.
// A read takes memory for at most Workers segments beyond what it returns. A
// ReaderAt is safe for concurrent use.
type ReaderAt struct {
	r        io.ReaderAt
	cipher   *segmentCipher
	body     int64 // where the body begins in r
	bodySize int64
	segment  int // size
	segments int64
	workers  int
	free     chan []byte // buffers for segments, to use again

	mu     sync.Mutex // for the fields below; not held while decrypting
	kept   *segment
	closed bool
}

// newReaderAt opens the last segment, which only opens as the last.
func newReaderAt(r io.ReaderAt, size int64, dataKey, header []byte, segmentSize, workers int) (*ReaderAt, error) {
	begin := int64(streamPreamble + len(header))
	var body [bodyHeaderSize]byte
	if err := readBodyHeader(io.NewSectionReader(r, begin, size-begin), &body); err != nil {
		return nil, err
	}
	c, err := newSegmentCipher(dataKey, header, body)
	if err != nil {
		return nil, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	a := &ReaderAt{
		r: r, cipher: c, body: begin, bodySize: size - begin, segment: segmentSize,
		segments: max(1, (size-begin+int64(segmentSize)-1)/int64(segmentSize)),
		workers:  workers, free: make(chan []byte, workers),
	}
	last, err := a.decrypt(a.segments - 1)
	if err != nil {
		return nil, err
	}
	a.kept = last
	return a, nil
}

// Size is the length of the plaintext, in bytes.
func (a *ReaderAt) Size() int64 {
	return a.bodySize - bodyHeaderSize - a.segments*tagSize
}

// ReadAt reads plaintext from offset off on, as io.ReaderAt says. When anything
// that it touches is not authentic it returns 0 and ErrStream. Other errors:
// io.EOF past the end, and those of the underlying reader.
func (a *ReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("envelope: sealed stream: negative offset")
	}
	if off >= a.Size() {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), a.Size()-off))
	if n > 0 {
		if err := a.read(p[:n], off); err != nil {
			clear(p[:n])
			return 0, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// read fills p, which lies within the plaintext.
func (a *ReaderAt) read(p []byte, off int64) error {
	first, last := a.segmentOf(off), a.segmentOf(off+int64(len(p))-1)
	if first == last {
		return a.readOne(p, off, first)
	}
	var (
		next   atomic.Int64
		failed atomic.Bool
		wg     sync.WaitGroup
	)
	workers := int(min(int64(a.workers), last-first+1))
	errs := make([]error, workers)
	for i := range workers {
		wg.Go(func() {
			for !failed.Load() {
				number := first + next.Add(1) - 1
				if number > last {
					return
				}
				s, err := a.decrypt(number)
				if err != nil {
					errs[i] = err
					failed.Store(true)
					return
				}
				if at := a.offsetOf(number) - off; at >= 0 {
					copy(p[at:], s.buf)
				} else {
					copy(p, s.buf[-at:])
				}
				a.release(s)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// readOne reads from a single segment, and keeps that one.
func (a *ReaderAt) readOne(p []byte, off, number int64) error {
	at := off - a.offsetOf(number)
	a.mu.Lock()
	hit := a.kept != nil && a.kept.number == number
	if hit {
		copy(p, a.kept.buf[at:])
	}
	a.mu.Unlock()
	if hit {
		return nil
	}
	s, err := a.decrypt(number)
	if err != nil {
		return err
	}
	copy(p, s.buf[at:])
	a.mu.Lock()
	former := s
	if !a.closed {
		former, a.kept = a.kept, s
	}
	a.mu.Unlock()
	if former != nil {
		a.release(former)
	}
	return nil
}

// decrypt reads one segment and opens it.
func (a *ReaderAt) decrypt(number int64) (*segment, error) {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil, errStreamClosed
	}
	begin := number * int64(a.segment)
	end := min(begin+int64(a.segment), a.bodySize)
	if number == 0 {
		begin = bodyHeaderSize
	}
	buf := a.buffer()[:end-begin]
	n, err := a.r.ReadAt(buf, a.body+begin)
	if err != nil && (err != io.EOF || n < len(buf)) {
		if err == io.EOF {
			return nil, &StreamError{number, "cut short"}
		}
		return nil, fmt.Errorf("envelope: reading a sealed stream: %w", err)
	}
	s := &segment{number: number, last: number == a.segments-1, buf: buf, done: make(chan struct{})}
	s.open(a.cipher)
	if s.err != nil {
		return nil, s.err
	}
	return s, nil
}

func (a *ReaderAt) buffer() []byte {
	select {
	case b := <-a.free:
		return b
	default:
		return make([]byte, min(int64(a.segment), a.bodySize))
	}
}

// release clears a segment's plaintext and keeps its buffer for another.
func (a *ReaderAt) release(s *segment) {
	clear(s.buf)
	select {
	case a.free <- s.buf[:cap(s.buf)]:
	default:
	}
}

// segmentOf tells which segment holds offset off of the plaintext.
func (a *ReaderAt) segmentOf(off int64) int64 {
	return (off + bodyHeaderSize) / int64(a.segment-tagSize)
}

// offsetOf tells where in the plaintext a segment begins.
func (a *ReaderAt) offsetOf(number int64) int64 {
	return max(0, number*int64(a.segment-tagSize)-bodyHeaderSize)
}

// Close clears the plaintext that the ReaderAt holds; later reads fail. The
// underlying reader stays open.
func (a *ReaderAt) Close() error {
	a.mu.Lock()
	kept := a.kept
	a.kept, a.closed = nil, true
	a.mu.Unlock()
	if kept != nil {
		a.release(kept)
	}
	return nil
}
