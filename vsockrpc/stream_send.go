package vsockrpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// send sends one message, and with it the end of the stream if last. Where it
// has to stop inside the message the call ends: the peer could not tell what
// comes after from the rest of it. Without flush, the caller sends something
// else at once.
func (s *stream) send(ctx context.Context, msg []byte, last, flush bool) error {
	if s.localEnd {
		return errorf(FailedPrecondition, "sending after the end of the stream")
	}
	if uint64(len(msg)) > math.MaxUint32 {
		e := errorf(ResourceExhausted, "message of 4 GiB or more")
		s.abandon(e) // or who sends one message and waits for the answer would wait forever
		return e
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
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return // perhaps inside a message, and before the peer was told
	}
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
