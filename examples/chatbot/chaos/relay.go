package main

import (
	"errors"
	"net"
	"sync"
	"time"
)

// direction is one of the two of a connection.
type direction int

const (
	onward direction = iota // from who connected
	back
)

// fault is what a relay does to the connections through it. The zero value
// passes everything on.
type fault struct {
	// refuse closes new connections at once.
	refuse bool
	// stall holds back what travels in a direction.
	stall [2]bool
	// every and most make a connection slow: at most so many bytes at a time,
	// with so long a wait before.
	every time.Duration
	most  int
	// mangle, if not nil, returns what takes the place of what was read: the
	// n-th piece of that direction of one connection, from 0. It may change b.
	mangle func(d direction, n int, b []byte) []byte
	// take, if not nil, takes new connections over.
	take func(net.Conn)
}

// relay stands between two parts and passes on what they say, or does what its
// fault says. It is safe for concurrent use.
type relay struct {
	listener net.Listener
	dial     func() (net.Conn, error)
	wg       sync.WaitGroup

	mu      sync.Mutex
	fault   fault
	changed chan struct{} // is closed, and replaced, when the fault is
	conns   map[net.Conn]bool
	closed  bool
}

// newRelay starts a relay that listens and connects on to what dial gives.
func newRelay(network, address string, dial func() (net.Conn, error)) (*relay, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	r := &relay{listener: l, dial: dial, changed: make(chan struct{}), conns: map[net.Conn]bool{}}
	r.wg.Go(r.accept)
	return r, nil
}

// set makes f the fault of all connections, old and new.
func (r *relay) set(f fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fault = f
	close(r.changed)
	r.changed = make(chan struct{})
}

// cut ends all connections.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// heal takes the fault away.
func (r *relay) heal() error {
	r.set(fault{})
	return nil
}

// healCut takes the fault away and ends the connections that suffered it.
func (r *relay) healCut() error {
	r.set(fault{})
	r.cut()
	return nil
}

// mend returns what mends a fault: connections whose bytes were changed are
// ended, those that were held up go on.
func (r *relay) mend(f fault) func() error {
	if f.mangle != nil || f.take != nil {
		return r.healCut
	}
	return r.heal
}

func (r *relay) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.listener.Close()
	r.heal()
	r.cut()
	r.wg.Wait()
}

func (r *relay) now() (fault, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.fault, r.changed
}

func (r *relay) accept() {
	for {
		c, err := r.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of descriptors, for instance
			continue
		}
		switch f, _ := r.now(); {
		case f.refuse:
			c.Close()
		case f.take != nil:
			f.take(c)
		default:
			r.wg.Go(func() { r.join(c) })
		}
	}
}

// keep remembers the two ends of a connection, unless the relay is closed.
func (r *relay) keep(a, b net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	r.conns[a], r.conns[b] = true, true
	return true
}

// join connects on and passes both directions until they have ended.
func (r *relay) join(a net.Conn) {
	defer a.Close()
	b, err := r.dial()
	if err != nil {
		return
	}
	defer b.Close()
	if !r.keep(a, b) {
		return
	}
	defer func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.conns, a)
		delete(r.conns, b)
	}()
	ended := make(chan struct{}) // one direction has
	var once sync.Once
	var both sync.WaitGroup
	for _, way := range []struct {
		d        direction
		from, to net.Conn
	}{{onward, a, b}, {back, b, a}} {
		both.Go(func() {
			r.pump(way.d, way.from, way.to, ended)
			once.Do(func() { close(ended) })
			// What is one-sided is not needed here: all ends together.
			a.Close()
			b.Close()
		})
	}
	both.Wait()
}

// pump passes on one direction.
func (r *relay) pump(d direction, from, to net.Conn, ended <-chan struct{}) {
	buf := make([]byte, 16<<10)
	for n := 0; ; n++ {
		f, _ := r.now()
		size := len(buf)
		if f.most > 0 {
			size = min(size, f.most)
		}
		read, err := from.Read(buf[:size])
		if read > 0 && !r.pass(d, n, buf[:read], to, ended) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass writes one piece, as the fault of the moment wants it.
func (r *relay) pass(d direction, n int, b []byte, to net.Conn, ended <-chan struct{}) bool {
	f, changed := r.now()
	for f.stall[d] {
		select {
		case <-changed:
			f, changed = r.now()
		case <-ended:
			return false
		}
	}
	if f.every > 0 {
		select {
		case <-time.After(f.every):
		case <-changed:
		case <-ended:
			return false
		}
	}
	if f.mangle != nil {
		b = f.mangle(d, n, b)
	}
	_, err := to.Write(b)
	return err == nil
}
