package vsockrpc

import (
	"context"
	"errors"
	"io"
	"sync"
)

// stream is one call, seen from either side. One goroutine may send and
// another receive at the same time.
//
// Flow control: a DATA frame uses up its whole length, header included, of the
// window that the receiver granted. Every byte is granted back once: when its
// message is received, or on arrival if its message is still arriving and
// nothing waits in front of it, so that a message may be larger than the
// window. What a reader leaves lying is thus bounded by the window and one
// message, and for all streams together by the connection's limit.
type stream struct {
	conn *conn
	id   uint32

	mu        sync.Mutex
	queue     []message     // whole messages that were not received yet
	partial   message       // the message that is arriving
	arriving  bool          // partial holds part of a message
	remoteEnd bool          // the peer sends no more messages
	err       *Error        // how the call ended; nil while it runs
	done      chan struct{} // closed when err is set
	arrived   chan struct{} // capacity 1: queue, remoteEnd or err changed
	held      int           // bytes of messages, of which conn.held counts those over ownHeld
	granted   int           // what the peer may still send
	credit    int           // what to grant it with the next WINDOW
	window    int           // what we may still send
	widened   chan struct{} // capacity 1: window grew
	localEnd  bool          // we send no more messages; used by the sender only
}

// message is a message and how much of the window it still uses up.
type message struct {
	data []byte
	owed int
}

// messageCost is what a message that waits counts for in conn.held beside its
// bytes: many tiny messages take more memory than they have bytes.
const messageCost = 64

// ownHeld is how many bytes each stream may leave waiting whatever the others
// do, so that streams nobody reads cannot make small calls fail.
const ownHeld = 16 << 10

// maxWindow bounds what a peer may grant, so that sums cannot overflow.
const maxWindow = 1 << 30

func newStream(c *conn, id uint32) *stream {
	return &stream{
		conn: c, id: id,
		done: make(chan struct{}), arrived: make(chan struct{}, 1), widened: make(chan struct{}, 1),
		window: initialWindow, granted: initialWindow,
	}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// end ends the call with e, once, and reports whether it did. Messages that
// arrived before can still be received.
func (s *stream) end(e *Error) bool {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return false
	}
	s.err = e
	s.partial = message{}
	s.unhold(s.held)
	close(s.done)
	s.mu.Unlock()
	signal(s.arrived)
	return true
}

// data takes a DATA frame. An error of errProtocol ends the connection, one of
// ResourceExhausted this call only.
func (s *stream) data(p []byte, flags byte, limit int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil // it was under way when the call ended
	}
	if s.remoteEnd {
		return protocolError("DATA after the end of the stream")
	}
	size := frameHeader + len(p)
	if size > s.granted {
		return protocolError("DATA beyond the window")
	}
	s.granted -= size
	if len(s.partial.data)+len(p) > limit {
		return errorf(ResourceExhausted, "message larger than %d bytes", limit)
	}
	cost := len(p)
	if !s.arriving {
		cost += messageCost
	}
	if !s.hold(cost) {
		return errorf(ResourceExhausted, "too many bytes wait on this connection")
	}
	if s.arriving {
		s.partial.data = append(s.partial.data, p...)
	} else {
		s.partial.data = p
	}
	s.partial.owed += size
	if s.arriving = flags&flagEndMessage == 0; s.arriving {
		s.releaseFront()
	} else {
		s.queue = append(s.queue, s.partial)
		s.partial = message{}
	}
	if flags&flagEndStream != 0 {
		if s.arriving {
			return protocolError("end of the stream inside a message")
		}
		s.remoteEnd = true
	}
	signal(s.arrived)
	return nil
}

// hold counts n bytes more that wait, of which the connection bears those
// beyond the stream's own. It reports whether there was room. It needs s.mu.
func (s *stream) hold(n int) bool {
	shared := int64(max(s.held+n-ownHeld, 0) - max(s.held-ownHeld, 0))
	if s.conn.held.Add(shared) > s.conn.maxHeld && shared > 0 {
		s.conn.held.Add(-shared)
		return false
	}
	s.held += n
	return true
}

// unhold gives up n bytes of those that wait. It needs s.mu.
func (s *stream) unhold(n int) {
	n = min(n, s.held) // nothing is held once the call has ended
	s.conn.held.Add(-int64(max(s.held-ownHeld, 0) - max(s.held-n-ownHeld, 0)))
	s.held -= n
}

// cut reports whether part of a message has arrived and the rest has not.
func (s *stream) cut() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arriving
}

// discard drops the messages of a call that has ended, which nobody should
// receive any more.
func (s *stream) discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = nil
}

// endStream takes a DATA frame that only ends the stream.
func (s *stream) endStream() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && (s.remoteEnd || s.arriving) {
		return protocolError("end of the stream inside a message or after its end")
	}
	s.remoteEnd = true
	signal(s.arrived)
	return nil
}

// releaseFront grants back what a message that is still arriving used, if
// nothing waits in front of it. It needs s.mu.
func (s *stream) releaseFront() {
	if s.arriving && len(s.queue) == 0 {
		s.release(s.partial.owed)
		s.partial.owed = 0
	}
}

// release grants n bytes back, in batches. It needs s.mu.
func (s *stream) release(n int) {
	s.credit += n
	if s.credit < initialWindow/4 || s.remoteEnd || s.err != nil {
		return
	}
	grant := s.credit
	s.granted += grant
	s.credit = 0
	s.conn.out.put(func(b []byte) []byte { return append32(b, frameWindow, s.id, uint32(grant)) })
}

// recv returns the next message, io.EOF after the last one, or how the call
// ended. The caller owns the message.
func (s *stream) recv(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		if len(s.queue) > 0 {
			m := s.queue[0]
			s.queue[0] = message{}
			s.queue = s.queue[1:]
			s.unhold(messageCost + len(m.data))
			s.release(m.owed)
			s.releaseFront()
			s.mu.Unlock()
			return m.data, nil
		}
		err, end := s.err, s.remoteEnd
		s.mu.Unlock()
		switch {
		case err != nil && err.Code == OK, err == nil && end:
			return nil, io.EOF
		case err != nil:
			return nil, err
		}
		select {
		case <-s.arrived:
		case <-ctx.Done():
			return nil, ctxError(ctx)
		}
	}
}

// send sends one message, and with it the end of the stream if last. Where it
// has to stop inside the message the call ends: the peer could not tell what
// comes after from the rest of it.
func (s *stream) send(ctx context.Context, msg []byte, last bool) error {
	if s.localEnd {
		return errorf(FailedPrecondition, "sending after the end of the stream")
	}
	for begun := false; ; begun = true {
		n, err := s.take(ctx, len(msg))
		if err != nil {
			if begun {
				s.abandon(err)
			}
			return err
		}
		chunk := msg[:n]
		msg = msg[n:]
		var flags byte
		if len(msg) == 0 {
			flags = flagEndMessage
			if last {
				flags |= flagEndStream
				s.localEnd = true
			}
		}
		if err := s.conn.out.send(ctx, s.done, func(b []byte) []byte {
			b = appendHeader(b, header{len(chunk), frameData, flags, s.id})
			return append(b, chunk...)
		}); err != nil {
			s.abandon(err) // its bytes of the window are spent
			return err
		}
		if len(msg) == 0 {
			return nil
		}
	}
}

// abandon ends a call inside a message that cannot be finished.
func (s *stream) abandon(err error) {
	var e *Error
	if errors.As(err, &e) {
		s.conn.reset(s, e)
	}
}

// take waits until a frame may be sent and returns how much of size it can
// carry.
func (s *stream) take(ctx context.Context, size int) (int, error) {
	for {
		s.mu.Lock()
		if s.err != nil {
			err := s.err
			s.mu.Unlock()
			if err.Code == OK {
				return 0, io.EOF // the peer ended the call and reads no more
			}
			return 0, err
		}
		if s.window > frameHeader || (size == 0 && s.window == frameHeader) {
			n := min(size, maxPayload, s.window-frameHeader)
			s.window -= frameHeader + n
			s.mu.Unlock()
			return n, nil
		}
		s.mu.Unlock()
		select {
		case <-s.widened:
		case <-s.done:
		case <-ctx.Done():
			return 0, ctxError(ctx)
		}
	}
}

// closeSend ends the stream in our direction.
func (s *stream) closeSend() {
	if s.localEnd {
		return
	}
	s.localEnd = true
	s.conn.out.put(func(b []byte) []byte {
		return appendHeader(b, header{0, frameData, flagEndStream, s.id})
	})
}

// widen takes a WINDOW frame.
func (s *stream) widen(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n == 0 || n > maxWindow || s.window+int(n) > maxWindow {
		return protocolError("WINDOW of %d bytes", n)
	}
	s.window += int(n)
	signal(s.widened)
	return nil
}
