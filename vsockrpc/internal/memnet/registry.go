package memnet

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// backlog is how many connections may wait to be accepted. Further ones wait
// to be among them.
const backlog = 128

// Registry is a name space of listeners. The zero Registry is empty and ready
// to use. It is safe for concurrent use.
type Registry struct {
	mu        sync.Mutex
	listeners map[string]*Listener
}

// Listener accepts connections to a name.
type Listener struct {
	registry *Registry
	name     Addr
	waiting  chan net.Conn
	done     chan struct{}
}

// Listen listens on a name. Where another listener has it already, the error
// wraps syscall.EADDRINUSE.
func (r *Registry) Listen(name string) (*Listener, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listeners[name] != nil {
		return nil, fail("listen", name, syscall.EADDRINUSE)
	}
	l := &Listener{registry: r, name: Addr(name), waiting: make(chan net.Conn, backlog), done: make(chan struct{})}
	if r.listeners == nil {
		r.listeners = map[string]*Listener{}
	}
	r.listeners[name] = l
	return l, nil
}

// Dial connects to a name. Where nobody listens, the error wraps
// syscall.ECONNREFUSED.
func (r *Registry) Dial(ctx context.Context, name string) (*Conn, error) {
	client, server := Pipe(name, &Buffer{}, &Buffer{})
	if err := r.Connect(ctx, name, server); err != nil {
		return nil, err
	}
	return client, nil
}

// Connect gives the listener of a name a connection to accept, which is the
// listener's own from then on. Errors are those of Dial.
func (r *Registry) Connect(ctx context.Context, name string, server net.Conn) error {
	if err := ctx.Err(); err != nil {
		return fail("dial", name, err)
	}
	r.mu.Lock()
	l := r.listeners[name]
	r.mu.Unlock()
	if l == nil {
		return fail("dial", name, syscall.ECONNREFUSED)
	}
	select {
	case l.waiting <- server:
	case <-l.done:
		return fail("dial", name, syscall.ECONNREFUSED)
	case <-ctx.Done():
		return fail("dial", name, ctx.Err())
	}
	select {
	case <-l.done: // perhaps before this connection was there to be closed
		l.drain()
	default:
	}
	return nil
}

// Accept waits for a connection. Its error after Close wraps net.ErrClosed.
func (l *Listener) Accept() (net.Conn, error) {
	select {
	case <-l.done: // rather than one of the connections that Close closes
		return nil, fail("accept", string(l.name), net.ErrClosed)
	default:
	}
	select {
	case c := <-l.waiting:
		return c, nil
	case <-l.done:
		return nil, fail("accept", string(l.name), net.ErrClosed)
	}
}

// Close frees the name and closes the connections that nobody has accepted.
func (l *Listener) Close() error {
	l.registry.mu.Lock()
	if l.registry.listeners[string(l.name)] != l {
		l.registry.mu.Unlock()
		return fail("close", string(l.name), net.ErrClosed)
	}
	delete(l.registry.listeners, string(l.name))
	l.registry.mu.Unlock()
	close(l.done)
	l.drain()
	return nil
}

func (l *Listener) drain() {
	for {
		select {
		case c := <-l.waiting:
			c.Close()
		default:
			return
		}
	}
}

// Addr returns the listener's name.
func (l *Listener) Addr() net.Addr { return l.name }

func fail(op, name string, err error) error {
	a := Addr(name)
	return &net.OpError{Op: op, Net: a.Network(), Addr: a, Err: err}
}
