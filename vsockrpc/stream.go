package vsockrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
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
	conn   *conn
	id     uint32
	opened uint64 // where OPEN ends in what the client sends
	// What is set before anything can come.
	unary   bool            // only the end of the call is of interest
	lent    bool            // messages are borrowed, and given back by who receives them
	watched <-chan struct{} // of a context whose end ends the call anyway

	mu    sync.Mutex
	err   *Error        // how the call ended; nil while it runs
	done  chan struct{} // closed when err is set; nil until somebody waits
	heard bool          // the peer has sent a frame of this stream

	// Receiving.
	queue     []message  // whole messages that were not received yet, from head
	head      int        // of queue
	slot      [1]message // queue's first memory: most calls have one message
	partial   message    // the message that is arriving
	arriving  bool       // partial holds part of a message
	total     int        // how long it will be
	prepaid   int        // how much of the window its rest was granted already
	into      []byte     // room for the first message, if it is small enough
	remoteEnd bool       // the peer sends no more messages
	arrived   waiter     // queue, remoteEnd or err changed
	held      int        // bytes of messages, of which conn.held counts those over ownHeld
	granted   int        // what the peer may still send
	credit    int        // what to grant it with the next WINDOW

	// Sending.
	window   int    // what we may still send
	widened  waiter // window grew, or err changed
	localEnd bool   // we send no more messages; used by the sender only

	sent, received Traffic

	// The server's side.
	cancel context.CancelFunc // of the handler
	server ServerStream       // what the handler has
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

// maxAhead bounds what is granted ahead at a time.
const maxAhead = 1 << 26

// maxWindow bounds what a peer may grant, so that sums cannot overflow.
const maxWindow = 1 << 30

func newStream(c *conn, id uint32) *stream {
	s := &stream{
		conn: c, id: id,
		window: initialWindow, granted: initialWindow,
	}
	s.queue = s.slot[:0]
	return s
}

// ended returns a channel that is closed when the call has ended. It needs s.mu.
func (s *stream) ended() <-chan struct{} {
	if s.done == nil {
		s.done = make(chan struct{})
		if s.err != nil {
			close(s.done)
		}
	}
	return s.done
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
	if s.lent {
		giveBack(s.partial.data)
	}
	s.partial = message{}
	s.unhold(s.held)
	if s.done != nil {
		close(s.done)
	}
	s.arrived.signal(s.conn)
	s.widened.signal(s.conn)
	s.mu.Unlock()
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
	s.heard = true
	size := frameHeader + len(p)
	if size > s.granted {
		return protocolError("DATA beyond the window")
	}
	s.granted -= size
	switch {
	case s.arriving:
		if err := s.more(p, size, flags); err != nil {
			return err
		}
	case flags&flagEndMessage != 0:
		if len(p) > limit {
			return errorf(ResourceExhausted, "message larger than %d bytes", limit)
		}
		if !s.hold(len(p) + messageCost) {
			return errorf(ResourceExhausted, "too many bytes wait on this connection")
		}
		s.push(message{append(s.buffer(len(p)), p...), size})
	case flags&flagSize != 0:
		if err := s.begin(p, size, limit); err != nil {
			return err
		}
	default:
		return protocolError("a message of several frames without its size")
	}
	if flags&flagEndStream != 0 {
		if s.arriving {
			return protocolError("end of the stream inside a message")
		}
		s.remoteEnd = true
	}
	if !s.arriving && (!s.unary || s.waiting() > 1) {
		s.arrived.signal(s.conn)
	}
	return nil
}

// begin takes the first frame of a message that has several. It needs s.mu.
func (s *stream) begin(p []byte, size, limit int) error {
	total := int(binary.BigEndian.Uint32(p))
	p = p[sizePrefix:]
	if total <= len(p) {
		return protocolError("SIZE of a message that has one frame")
	}
	if total > limit {
		return errorf(ResourceExhausted, "message larger than %d bytes", limit)
	}
	// All of it counts from the beginning, so that what is announced is
	// bounded before it is allocated.
	if !s.hold(total + messageCost) {
		return errorf(ResourceExhausted, "too many bytes wait on this connection")
	}
	s.partial = message{append(s.buffer(total), p...), size}
	s.arriving, s.total = true, total
	s.releaseFront()
	return nil
}

// more takes a further frame of a message. It needs s.mu.
func (s *stream) more(p []byte, size int, flags byte) error {
	have, total := len(s.partial.data)+len(p), s.total
	if flags&flagSize != 0 || have > total || (have == total) != (flags&flagEndMessage != 0) {
		return protocolError("a message that is not as long as its SIZE")
	}
	s.partial.data = append(s.partial.data, p...)
	paid := min(s.prepaid, size)
	s.prepaid -= paid
	s.partial.owed += size - paid
	if have < total {
		s.releaseFront()
		return nil
	}
	m := s.partial
	s.credit -= s.prepaid // granted ahead and not needed
	s.partial, s.prepaid, s.arriving = message{}, 0, false
	s.push(m)
	return nil
}

// buffer returns an empty buffer with room for a message of n bytes. It needs
// s.mu.
func (s *stream) buffer(n int) []byte {
	switch into := s.into; {
	case into != nil && cap(into) >= n:
		s.into = nil
		return into
	case s.lent:
		return borrow(n)
	}
	return make([]byte, 0, n)
}

// push queues a whole message. It needs s.mu.
func (s *stream) push(m message) {
	s.received.Messages++
	s.received.Bytes += int64(len(m.data))
	if s.head > 0 && len(s.queue) == cap(s.queue) {
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.head = s.queue[:n], 0
	}
	s.queue = append(s.queue, m)
}

// waiting is how many whole messages wait. It needs s.mu.
func (s *stream) waiting() int { return len(s.queue) - s.head }

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

// code is how a call that has ended did.
func (s *stream) code() Code {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err.Code
}

// begun reports whether the peer has sent a frame of this stream.
func (s *stream) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard
}

// failure is how a call that has ended failed, nil if it did not.
func (s *stream) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err.Code == OK {
		return nil
	}
	return s.err
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
	for i := range s.queue[s.head:] {
		m := &s.queue[s.head+i]
		if s.lent {
			giveBack(m.data)
		}
		*m = message{}
	}
	s.queue, s.head = nil, 0
}

// endStream takes a DATA frame that only ends the stream.
func (s *stream) endStream() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil && (s.remoteEnd || s.arriving) {
		return protocolError("end of the stream inside a message or after its end")
	}
	s.remoteEnd, s.heard = true, true
	s.arrived.signal(s.conn)
	return nil
}

// releaseFront grants back what a message that is still arriving used, if
// nothing waits in front of it, and grants its rest ahead: there is room for
// it, and the sender need not stop. It needs s.mu.
func (s *stream) releaseFront() {
	if !s.arriving || s.waiting() > 0 {
		return
	}
	owed := s.partial.owed
	s.partial.owed = 0
	if rest := s.total - len(s.partial.data); s.prepaid == 0 && rest > 0 {
		rest = min(rest, maxAhead)
		s.prepaid = rest + frameHeader*((rest+maxPayload-1)/maxPayload)
		owed += s.prepaid
	}
	s.release(owed)
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
	if s.conn.out.begin() {
		s.conn.out.buf = append32(s.conn.out.buf, frameWindow, s.id, uint32(grant))
		s.conn.out.flush()
	}
}

// recv returns the next message, io.EOF after the last one, or how the call
// ended. The caller owns the message.
func (s *stream) recv(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		if s.waiting() > 0 {
			m := s.queue[s.head]
			s.queue[s.head] = message{}
			if s.head++; s.head == len(s.queue) {
				s.queue, s.head = s.queue[:0], 0
			}
			s.unhold(messageCost + len(m.data))
			s.release(m.owed)
			s.releaseFront()
			s.mu.Unlock()
			return m.data, nil
		}
		err, end := s.err, s.remoteEnd && s.conn.onStatus == nil // a server's end is STATUS
		s.mu.Unlock()
		switch {
		case err != nil && err.Code == OK, err == nil && end:
			return nil, io.EOF
		case err != nil:
			return nil, err
		}
		if err := s.await(ctx, &s.arrived); err != nil {
			return nil, err
		}
	}
}

// answer returns the message of a unary call, when the call has ended.
func (s *stream) answer(ctx context.Context) ([]byte, error) {
	for {
		s.mu.Lock()
		end, n := s.err, s.waiting()
		var m message
		if n > 0 {
			m = s.queue[s.head]
		}
		s.mu.Unlock()
		switch {
		case end != nil && end.Code != OK:
			return nil, end
		case n > 1:
			return nil, errorf(Internal, "the server answered more than one message")
		case end != nil && n == 0:
			return nil, errorf(Internal, "the server answered no message")
		case end != nil:
			return m.data, nil
		}
		if err := s.await(ctx, &s.arrived); err != nil {
			return nil, err
		}
	}
}

// send sends one message, and with it the end of the stream if last. Where it
// has to stop inside the message the call ends: the peer could not tell what
// comes after from the rest of it. Without flush, the caller sends something
// else at once.
func (s *stream) send(ctx context.Context, msg []byte, last, flush bool) error {
	if s.localEnd {
		return errorf(FailedPrecondition, "sending after the end of the stream")
	}
	if uint64(len(msg)) > math.MaxUint32 {
		return errorf(ResourceExhausted, "message of 4 GiB or more")
	}
	for rest := msg; ; {
		begun := len(rest) < len(msg)
		n, prefix, err := s.reserve(ctx, len(rest), begun)
		if err != nil {
			if begun {
				s.abandon(err)
			}
			return err
		}
		var flags byte
		if prefix > 0 {
			flags = flagSize
		}
		end := n == len(rest)
		if end {
			flags = flagEndMessage
			if last {
				flags |= flagEndStream
				s.localEnd = true
			}
		}
		ok, err := s.room(ctx)
		if err != nil {
			s.abandon(err) // its bytes of the window are spent
			return err
		}
		if ok {
			out := s.conn.out
			out.buf = appendHeader(out.buf, header{prefix + n, frameData, flags, s.id})
			if prefix > 0 {
				out.buf = binary.BigEndian.AppendUint32(out.buf, uint32(len(msg)))
			}
			out.buf = append(out.buf, rest[:n]...)
			if flush || !end {
				out.flush()
			} else {
				out.hold()
			}
		}
		rest = rest[n:]
		if end {
			return nil
		}
	}
}

// room locks the outbox for a frame of a message, as outbox.wait does.
func (s *stream) room(ctx context.Context) (bool, error) {
	out := s.conn.out
	out.mu.Lock()
	if out.err == nil && !out.closed && len(out.buf) < outboxLimit {
		return true, nil
	}
	out.mu.Unlock()
	s.mu.Lock()
	done := s.ended()
	s.mu.Unlock()
	return out.wait(ctx, done)
}

// abandon ends a call inside a message that cannot be finished. Where the
// connection broke, that ends the call, and knows better whether it was begun.
func (s *stream) abandon(err error) {
	var e *Error
	if errors.As(err, &e) && e.Code != Unavailable {
		s.conn.reset(s, e)
	}
}

// reserve waits until a frame may be sent, and returns how much of size it can
// carry and how much it has in front of that.
func (s *stream) reserve(ctx context.Context, size int, begun bool) (n, prefix int, err error) {
	for {
		s.mu.Lock()
		if s.err != nil {
			err := s.err
			s.mu.Unlock()
			if err.Code == OK {
				return 0, 0, io.EOF // the peer ended the call and reads no more
			}
			return 0, 0, err
		}
		n, prefix = min(size, maxPayload, s.window-frameHeader), 0
		if n < size && !begun {
			prefix = sizePrefix
			n = min(size, maxPayload-prefix, s.window-frameHeader-prefix)
		}
		if n > 0 || n == 0 && size == 0 {
			s.window -= frameHeader + prefix + n
			if !begun {
				s.sent.Messages++
			}
			s.sent.Bytes += int64(n)
			s.mu.Unlock()
			return n, prefix, nil
		}
		s.mu.Unlock()
		s.conn.out.wake() // what was held back goes out before we wait
		if err := s.await(ctx, &s.widened); err != nil {
			return 0, 0, err
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
	s.heard = true
	s.widened.signal(s.conn)
	return nil
}
