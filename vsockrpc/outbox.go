package vsockrpc

import (
	"context"
	"io"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// outboxLimit is how many bytes may wait for the socket before senders of
// messages, and calls that begin, have to wait. Other control frames never wait:
// a call causes a bounded number of them, but for WINDOW, which is 14 bytes for
// each 64 KiB that the peer has sent and the other side has taken.
const outboxLimit = 256 << 10

// maxReplies is how many bytes of answers to the peer's own frames (PONG, the
// STATUS of refused calls and the like) may wait. A peer that causes more of
// them without reading any would otherwise take memory without end.
const maxReplies = 1 << 20

// burst is how soon after one flush the next counts as part of a burst, which
// goes through the outbox's own goroutine, so that frames gather and go out
// together.
const burst = 25 * time.Microsecond

// outbox collects frames and writes them to the socket. Senders never block in
// a write, so a peer that stops reading cannot hold them past their deadlines.
//
// A sender that finds the socket idle tries to write by itself, without
// waiting, which saves waking a goroutine. What the socket does not take, and
// what comes in bursts, is written by a goroutine, run.
type outbox struct {
	w    io.Writer
	try  *tryWriter // nil: the socket has no way to write without waiting
	kick chan struct{}

	mu      sync.Mutex
	buf     []byte
	spare   []byte
	rest    []byte        // of a buffer that the socket did not take whole; comes before buf
	writing bool          // somebody writes
	flushed time.Time     // when flush was called last
	replies int           // bytes of buf that replies appended
	handed  uint64        // bytes that were given to the socket, as far as known
	err     error         // why nothing is sent any more
	room    chan struct{} // closed when buf falls below the limit; nil while it is
	closed  bool
}

func newOutbox(w io.Writer) *outbox {
	return &outbox{w: w, try: newTryWriter(w), kick: make(chan struct{}, 1)}
}

// begin locks the outbox for appending frames to buf, to be followed by flush
// or hold. It returns false, unlocked, when nothing is sent any more.
func (o *outbox) begin() bool {
	o.mu.Lock()
	if o.err != nil || o.closed {
		o.mu.Unlock()
		return false
	}
	return true
}

// hold unlocks the outbox and leaves what was appended for the next flush,
// which the caller sees to.
func (o *outbox) hold() { o.mu.Unlock() }

// flush unlocks the outbox and sees to it that buf is written.
func (o *outbox) flush() {
	now := time.Now()
	gather := now.Sub(o.flushed) < burst && len(o.buf) < maxFrame/2
	o.flushed = now
	if gather || o.writing || len(o.rest) > 0 || o.try == nil || len(o.buf) > maxFrame {
		o.mu.Unlock()
		o.wake()
		return
	}
	o.writing = true
	buf := o.take()
	o.mu.Unlock()
	n, err := o.try.write(buf)
	o.mu.Lock()
	o.writing = false
	if err != nil {
		o.handed -= uint64(len(buf) - n)
		o.mu.Unlock()
		o.fail(err)
		return
	}
	switch {
	case n == len(buf):
		o.spare = buf
	case o.err == nil:
		o.rest = buf[n:]
	default: // fail came meanwhile, and what is left stays unsent
		o.handed -= uint64(len(buf) - n)
	}
	more := len(o.rest) > 0 || len(o.buf) > 0 || o.closed
	o.mu.Unlock()
	if more {
		o.wake()
	}
}

// take takes buf for writing and puts the spare buffer in its place. It needs
// o.mu.
func (o *outbox) take() []byte {
	buf := o.buf
	o.buf, o.spare, o.replies = o.spare[:0], nil, 0
	o.handed += uint64(len(buf))
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	return buf
}

// end is how many bytes come before what is appended next, and reached whether
// that many were given to the socket. The latter may be true in error for what
// is being written.
func (o *outbox) end() uint64 { return o.handed + uint64(len(o.buf)) }

func (o *outbox) reached(end uint64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return end <= o.handed || o.closed && o.err == nil // then what waits is still written
}

// put appends frames, as one, by calling add with the buffer.
func (o *outbox) put(add func(b []byte) []byte) {
	if o.begin() {
		o.buf = add(o.buf)
		o.flush()
	}
}

// reply appends a frame that answers one of the peer's, for the reader, which
// must not wait. The error, of errProtocol, says that the peer does not read
// what it asks for.
func (o *outbox) reply(add func(b []byte) []byte) error {
	if !o.begin() {
		return nil
	}
	before := len(o.buf)
	o.buf = add(o.buf)
	o.replies += len(o.buf) - before
	over := o.replies > maxReplies
	o.flush()
	if over {
		return protocolError("the peer does not read the answers that it asks for")
	}
	return nil
}

func (o *outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// wait locks the outbox once there is room for a message's frame, as begin
// does, unless done is closed before: then it returns false. The error says
// why nothing can be sent.
func (o *outbox) wait(ctx context.Context, done <-chan struct{}) (bool, error) {
	for {
		o.mu.Lock()
		if o.err != nil {
			err := o.err
			o.mu.Unlock()
			if e, ok := err.(*Error); ok {
				return false, e // this side ended the connection
			}
			return false, &Error{Code: Unavailable, Message: "the connection broke", cause: err}
		}
		if len(o.buf) < outboxLimit {
			if o.closed {
				o.mu.Unlock()
				return false, nil
			}
			return true, nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		o.wake() // what was held back goes out, too
		select {
		case <-room:
		case <-done:
			return false, nil // the stream is over; its own error tells why
		case <-ctx.Done():
			return false, ctxError(ctx)
		}
	}
}

// run writes until the outbox is closed and empty, or a write fails.
func (o *outbox) run() error {
	for range o.kick {
		for {
			// Others that could run now may have something to send, too.
			runtime.Gosched()
			o.mu.Lock()
			if o.writing {
				o.mu.Unlock()
				break // a sender, which wakes us when it is done
			}
			buf := o.rest
			o.rest = nil
			if buf == nil {
				buf = o.take()
			}
			if len(buf) == 0 {
				o.spare = buf
				err, closed := o.err, o.closed
				o.mu.Unlock()
				if closed {
					return err
				}
				break
			}
			o.writing = true
			o.mu.Unlock()
			n, err := writeParts(o.w, buf)
			o.mu.Lock()
			o.writing = false
			o.handed -= uint64(len(buf) - n)
			if cap(buf) <= 4*outboxLimit { // a burst should not keep its memory
				o.spare = buf
			}
			o.mu.Unlock()
			if err != nil {
				o.fail(err)
				return err
			}
		}
	}
	return nil
}

// close lets run end once everything is written.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.wake()
}

// fail drops what waits and wakes everyone. It returns the first reason, which
// stays.
func (o *outbox) fail(err error) error {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	err = o.err
	o.handed -= uint64(len(o.rest)) // which the socket did not take
	o.buf, o.rest, o.closed = nil, nil, true
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.mu.Unlock()
	o.wake()
	return err
}

// tryWriter writes what a socket takes at once.
type tryWriter struct {
	raw syscall.RawConn
	do  func(fd uintptr) bool
	buf []byte
	n   int
	err error
}

func newTryWriter(w io.Writer) *tryWriter {
	if c, ok := w.(*vsockConn); ok {
		w = c.Conn
	}
	sc, ok := w.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	t := &tryWriter{raw: raw}
	t.do = func(fd uintptr) bool {
		for {
			t.n, t.err = syscall.Write(int(fd), t.buf)
			if t.err != syscall.EINTR {
				return true // also where the socket takes nothing now
			}
		}
	}
	return t
}

// write writes part of p, all of it or nothing. p has at most 32 KiB.
func (t *tryWriter) write(p []byte) (int, error) {
	t.buf, t.n, t.err = p, 0, nil
	err := t.raw.Write(t.do)
	t.buf = nil
	switch {
	case err != nil:
		return 0, err
	case t.err == syscall.EAGAIN:
		return 0, nil
	case t.err != nil:
		return 0, t.err
	}
	return t.n, nil
}
