package vsockrpc

import (
	"context"
	"io"
	"sync"
)

// outboxLimit is how many bytes may wait for the socket before senders of
// messages have to wait. Control frames never wait.
const outboxLimit = 256 << 10

// maxReplies is how many bytes of answers to the peer's own frames (PONG, the
// STATUS of refused calls and the like) may wait. A peer that causes more of
// them without reading any would otherwise take memory without end.
const maxReplies = 1 << 20

// outbox collects frames and writes them to the socket from a goroutine of
// its own. Senders never block in a write, so a peer that stops reading cannot
// hold them past their deadlines, and frames that gather while a write is under
// way go out together.
type outbox struct {
	w io.Writer

	mu      sync.Mutex
	buf     []byte
	replies int           // bytes of buf that reply appended
	err     error         // why nothing is sent any more
	room    chan struct{} // closed when buf falls below the limit; nil while it is
	closed  bool
	kick    chan struct{} // capacity 1: there is something to do
}

func newOutbox(w io.Writer) *outbox {
	return &outbox{w: w, kick: make(chan struct{}, 1)}
}

// put appends frames, as one, by calling add with the buffer.
func (o *outbox) put(add func(b []byte) []byte) {
	o.mu.Lock()
	if o.err == nil && !o.closed {
		o.buf = add(o.buf)
	}
	o.mu.Unlock()
	o.wake()
}

// reply appends a frame that answers one of the peer's, for the reader, which
// must not wait. The error, of errProtocol, says that the peer does not read
// what it asks for.
func (o *outbox) reply(add func(b []byte) []byte) error {
	o.mu.Lock()
	defer o.wake()
	defer o.mu.Unlock()
	if o.err != nil || o.closed {
		return nil
	}
	before := len(o.buf)
	o.buf = add(o.buf)
	if o.replies += len(o.buf) - before; o.replies > maxReplies {
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

// send appends frames of a message once there is room, unless done is closed
// before.
func (o *outbox) send(ctx context.Context, done <-chan struct{}, add func(b []byte) []byte) error {
	for {
		o.mu.Lock()
		if o.err != nil {
			err := o.err
			o.mu.Unlock()
			return &Error{Code: Unavailable, Message: "the connection broke", cause: err}
		}
		if len(o.buf) < outboxLimit {
			if !o.closed {
				o.buf = add(o.buf)
			}
			o.mu.Unlock()
			o.wake()
			return nil
		}
		if o.room == nil {
			o.room = make(chan struct{})
		}
		room := o.room
		o.mu.Unlock()
		select {
		case <-room:
		case <-done:
			return nil // the stream is over; its own error tells why
		case <-ctx.Done():
			return ctxError(ctx)
		}
	}
}

// run writes until the outbox is closed and empty, or a write fails.
func (o *outbox) run() error {
	var spare []byte
	for range o.kick {
		for {
			o.mu.Lock()
			buf := o.buf
			if len(buf) == 0 {
				closed := o.closed
				o.mu.Unlock()
				if closed {
					return nil
				}
				break
			}
			o.buf, o.replies = spare[:0], 0
			if o.room != nil {
				close(o.room)
				o.room = nil
			}
			o.mu.Unlock()
			for rest := buf; len(rest) > 0; {
				n := min(len(rest), maxFrame)
				if _, err := o.w.Write(rest[:n]); err != nil {
					o.fail(err)
					return err
				}
				rest = rest[n:]
			}
			spare = buf
			if cap(spare) > 4*outboxLimit {
				spare = nil // a burst should not keep its memory
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

// fail drops what waits and wakes everyone.
func (o *outbox) fail(err error) {
	o.mu.Lock()
	if o.err == nil {
		o.err = err
	}
	o.buf, o.closed = nil, true
	if o.room != nil {
		close(o.room)
		o.room = nil
	}
	o.mu.Unlock()
	o.wake()
}
