package vsockrpc

import (
	"context"
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
