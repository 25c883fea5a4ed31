package memnet

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Addr is a listener's name, and the address of both ends of its connections.
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

func (a Addr) String() string { return string(a) }

// Conn is one end of a connection. It is safe for concurrent use.
type Conn struct {
	name    Addr
	pair    *pair
	in, out *half

	// Under pair's lock:
	closed    bool
	closedOut bool // CloseWrite was called
}

// pair is a connection. One lock for both directions keeps it simple to end
// them together.
type pair struct {
	mu    sync.Mutex
	there half // from the side that dialled
	back  half
}

// half is one direction of a connection.
type half struct {
	queue   Queue
	readers waiters
	writers waiters
	busy    bool // a Write is under way
}

// waiters are the calls that wait for a direction, on one side of it.
type waiters struct {
	sync.Cond
	timer   *time.Timer
	moved   int  // how often the deadline was
	expired bool // it has passed
}

// Pipe returns the two ends of a connection, whose directions the queues hold:
// there what client writes, and back what server writes.
func Pipe(name string, there, back Queue) (client, server *Conn) {
	p := &pair{}
	p.there.queue, p.back.queue = there, back
	for _, h := range []*half{&p.there, &p.back} {
		h.readers.L, h.writers.L = &p.mu, &p.mu
	}
	return &Conn{name: Addr(name), pair: p, in: &p.back, out: &p.there},
		&Conn{name: Addr(name), pair: p, in: &p.there, out: &p.back}
}

// Update calls f, which may change the connection's queues, with the
// connection locked. Calls that wait then look again.
func (c *Conn) Update(f func()) {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	f()
	c.pair.wake()
}

func (p *pair) wake() {
	for _, h := range []*half{&p.there, &p.back} {
		h.readers.Broadcast()
		h.writers.Broadcast()
	}
}

// Read reads what has been written at the other end. After what the other end
// wrote before it ended, it returns io.EOF.
func (c *Conn) Read(p []byte) (int, error) {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	for {
		switch {
		case c.closed:
			return 0, c.fail("read", net.ErrClosed)
		case c.in.readers.expired:
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		}
		if n := c.in.queue.Get(p); n > 0 {
			c.in.writers.Broadcast()
			return n, nil
		}
		if c.in.queue.Ended() {
			return 0, io.EOF
		}
		c.in.readers.Wait()
	}
}

// Write writes all of p, unless it returns an error, which wraps syscall.EPIPE
// once the other end has been closed. What several goroutines write at the same
// time does not mix.
func (c *Conn) Write(p []byte) (n int, err error) {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	for c.out.busy {
		if err := c.cannotWrite(); err != nil {
			return 0, err
		}
		c.out.writers.Wait()
	}
	c.out.busy = true
	defer func() {
		c.out.busy = false
		c.out.writers.Broadcast()
	}()
	for {
		if err := c.cannotWrite(); err != nil {
			return n, err
		}
		k := c.out.queue.Put(p[n:])
		n += k
		switch {
		case c.out.queue.Broken(): // just now: that concerns everyone
			c.pair.wake()
		case k > 0:
			c.out.readers.Broadcast()
		}
		if n == len(p) {
			return n, nil
		}
		if k == 0 && !c.out.queue.Broken() {
			c.out.writers.Wait()
		}
	}
}

// cannotWrite is the error of a Write that cannot go on. It needs the lock.
func (c *Conn) cannotWrite() error {
	switch {
	case c.closed:
		return c.fail("write", net.ErrClosed)
	case c.out.writers.expired:
		return c.fail("write", os.ErrDeadlineExceeded)
	case c.closedOut, c.out.queue.Broken():
		return c.fail("write", syscall.EPIPE)
	}
	return nil
}

// CloseWrite ends the direction to the other end, which reads io.EOF after what
// was written. The other direction goes on.
func (c *Conn) CloseWrite() error {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.endWrite()
	c.pair.wake()
	return nil
}

// endWrite needs the lock.
func (c *Conn) endWrite() {
	if !c.closedOut {
		c.closedOut = true
		c.out.queue.End()
	}
}

// Close closes this end. What it wrote before can still be read at the other;
// what it did not read is lost.
func (c *Conn) Close() error {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	c.endWrite()
	c.in.queue.Abandon()
	c.in.readers.stop()
	c.out.writers.stop()
	c.pair.wake()
	return nil
}

// LocalAddr returns the listener's name.
func (c *Conn) LocalAddr() net.Addr { return c.name }

// RemoteAddr returns the listener's name.
func (c *Conn) RemoteAddr() net.Addr { return c.name }

// SetDeadline sets the deadlines of Read and Write.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.in.readers, &c.out.writers)
}

// SetReadDeadline sets the deadline of Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadlines(t, &c.in.readers) }

// SetWriteDeadline sets the deadline of Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.out.writers) }

func (c *Conn) setDeadlines(t time.Time, all ...*waiters) error {
	c.pair.mu.Lock()
	defer c.pair.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	for _, w := range all {
		w.setDeadline(t)
	}
	return nil
}

// setDeadline needs the lock.
func (w *waiters) setDeadline(t time.Time) {
	w.stop()
	w.expired = !t.IsZero() && !t.After(time.Now())
	if w.expired {
		w.Broadcast()
		return
	}
	if t.IsZero() {
		return
	}
	moved := w.moved
	w.timer = time.AfterFunc(time.Until(t), func() {
		w.L.Lock()
		defer w.L.Unlock()
		if w.moved == moved {
			w.expired = true
			w.Broadcast()
		}
	})
}

// stop makes the deadline's timer harmless, also one that has fired and waits
// for the lock. It needs the lock.
func (w *waiters) stop() {
	w.moved++
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

func (c *Conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: c.name.Network(), Addr: c.name, Err: err}
}
