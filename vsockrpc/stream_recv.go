package vsockrpc

import (
	"context"
	"encoding/binary"
	"io"
)

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
