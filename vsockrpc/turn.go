package vsockrpc

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// turn decides which goroutine reads from a connection: one at a time.
//
// On the server's side it is always the connection's own goroutine. On the
// client's side, whoever waits for an answer while nobody reads does it by
// itself. Waking a goroutine that waits in the poller and having that one wake
// the caller costs more than everything else in a short call; this way there
// is one wake instead of two. Where several wait, the connection's own
// goroutine reads for all of them, until none waits any more.
//
// When the turn is given up with nobody waiting, it stays free for idleTurn,
// in case the next call comes soon. Then the connection's own goroutine takes
// it, to hear of PING, GOAWAY and the end of the connection.
type turn struct {
	shared  bool         // receivers may read by themselves
	waiting atomic.Int32 // how many waiters wait for what others read

	mu     sync.Mutex
	taken  bool
	reader *stream     // for whom it is taken; nil: the connection's own goroutine
	kicked bool        // the read deadline was set, to make reader stop
	given  uint64      // how often the turn was given up
	seen   uint64      // given, when the timer was set
	idle   *time.Timer // takes the turn when it was free for idleTurn
	armed  bool        // idle will fire
}

// idleTurn is how long a client's connection may go unread while no call waits
// for it.
const idleTurn = 5 * time.Millisecond

// past is a deadline that has passed.
var past = time.Unix(1, 0)

// waiter is what one goroutine of a stream waits for. Its fields need the
// stream's mu.
type waiter struct {
	due     bool          // signalled, and not noticed yet
	counted bool          // in turn.waiting
	c       chan struct{} // capacity 1; nil until somebody waits
}

// signal tells whoever waits, or will wait, to look again.
func (w *waiter) signal(c *conn) {
	w.due = true
	w.leave(c)
	if w.c != nil {
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// leave says that nobody waits any more.
func (w *waiter) leave(c *conn) {
	if w.counted {
		w.counted = false
		c.turn.waiting.Add(-1)
	}
}

// await waits until w is signalled or ctx ends, or reads until then.
func (s *stream) await(ctx context.Context, w *waiter) error {
	c := s.conn
	if s.take(w) {
		return s.readUntil(ctx, w)
	}
	select {
	case <-w.c:
	case <-ctx.Done():
	}
	s.mu.Lock()
	w.leave(c)
	due := w.due
	w.due = false
	s.mu.Unlock()
	if !due && ctx.Err() != nil {
		return ctxError(ctx)
	}
	return nil
}

// take takes the turn to read for s, if it is free. Otherwise w waits.
func (s *stream) take(w *waiter) bool {
	t := &s.conn.turn
	// Under t.mu, so that the one who reads now sees us waiting when it gives
	// the turn up.
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shared && !t.taken {
		t.taken, t.reader = true, s
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if w.c == nil {
		w.c = make(chan struct{}, 1)
	}
	if w.due {
		select {
		case w.c <- struct{}{}:
		default:
		}
	} else {
		w.counted = true
		t.waiting.Add(1)
	}
	return false
}

// readUntil reads from the connection until w is signalled or ctx ends. It has
// the turn.
func (s *stream) readUntil(ctx context.Context, w *waiter) error {
	c := s.conn
	if done := ctx.Done(); done != nil && done != s.watched {
		stop := context.AfterFunc(ctx, func() { c.kick(s) })
		defer stop()
	}
	for {
		s.mu.Lock()
		due := w.due
		w.due = false
		s.mu.Unlock()
		if due {
			c.give()
			return nil
		}
		err := c.step()
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded):
			c.give()
			if ctx.Err() != nil {
				return ctxError(ctx)
			}
			return nil
		default:
			c.ended <- err // which ends this call, too
			return nil
		}
	}
}

// readAll is the connection's own reading. It has the turn, and keeps it for
// good when the connection is over.
func (c *conn) readAll() {
	t := &c.turn
	for {
		if err := c.step(); err != nil {
			c.ended <- err
			return
		}
		if t.shared && t.waiting.Load() == 0 {
			c.give()
			return
		}
	}
}

// give gives the turn up, to the connection's own goroutine if others wait.
func (c *conn) give() {
	t := &c.turn
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kicked {
		c.net.SetReadDeadline(time.Time{})
		t.kicked = false
	}
	t.reader = nil
	t.given++
	if t.waiting.Load() > 0 {
		go c.readAll()
		return
	}
	t.taken = false
	if !t.armed {
		c.watchTurn()
	}
}

// watchTurn has the connection's own goroutine take the turn when it has been
// free for a while. It needs turn.mu.
func (c *conn) watchTurn() {
	t := &c.turn
	t.armed, t.seen = true, t.given
	if t.idle != nil {
		t.idle.Reset(idleTurn)
		return
	}
	t.idle = time.AfterFunc(idleTurn, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.armed = false
		if !t.taken && t.given != t.seen {
			c.watchTurn() // it was used in between
		} else {
			c.startReading()
		}
	})
}

// startReading gives the connection's own goroutine the turn, if it is free. It
// needs turn.mu.
func (c *conn) startReading() {
	if !c.turn.taken {
		c.turn.taken = true
		go c.readAll()
	}
}

// kick makes a goroutine that reads for s look whether s has ended, or its
// context.
func (c *conn) kick(s *stream) {
	t := &c.turn
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reader == s {
		t.kicked = true
		c.net.SetReadDeadline(past)
	}
}
