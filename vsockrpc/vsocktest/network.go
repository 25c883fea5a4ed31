package vsocktest

import (
	"context"
	"net"
	"slices"
	"sync"
	"syscall"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/memnet"
)

// Options configures a Network.
type Options struct {
	// Seed of all that is random. The same seed gives the same.
	Seed uint64
	// Buffer is how many bytes one direction of a connection holds before
	// writers wait, those under way included. 0 means 256 KiB.
	Buffer int
	// Tap is given the bytes that a direction carries when they are written:
	// those corrupted as they are then, and none that were dropped or cut off.
	// link is the connection's place in Links. Calls for one connection come
	// one after the other, those for several at once. Tap must not keep or
	// change p, nor use the network or the connection. nil is none.
	Tap func(link int, d Direction, p []byte)
}

// Network is a network in memory. It is safe for concurrent use.
type Network struct {
	opts     Options
	registry memnet.Registry

	mu         sync.Mutex
	faults     [2]Faults // of new links
	links      []*Link
	listeners  []net.Listener
	refuse     bool
	acceptErrs []error
	closed     bool
}

// NewNetwork returns a network without listeners and faults.
func NewNetwork(opts Options) *Network { return &Network{opts: opts} }

// Listen listens on a name, which may be any. Where another listener has it,
// the error wraps syscall.EADDRINUSE.
func (n *Network) Listen(name string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, failed("listen", name, net.ErrClosed)
	}
	l, err := n.registry.Listen(name)
	if err != nil {
		return nil, err
	}
	n.listeners = append(n.listeners, l)
	return listener{l, n}, nil
}

// Dial connects to a listener. The error wraps syscall.ECONNREFUSED where there
// is none.
//
// The connection, and the one that the listener accepts, also have CloseWrite,
// as TCP connections do.
func (n *Network) Dial(ctx context.Context, name string) (net.Conn, error) {
	n.mu.Lock()
	if n.refuse || n.closed {
		n.mu.Unlock()
		return nil, failed("dial", name, syscall.ECONNREFUSED)
	}
	client, server, l := newLink(name, len(n.links), n.opts)
	n.links = append(n.links, l)
	l.set(ToServer, n.faults[0])
	l.set(ToClient, n.faults[1])
	n.mu.Unlock()
	if err := n.registry.Connect(ctx, name, server); err != nil {
		client.Close()
		server.Close()
		return nil, err
	}
	return client, nil
}

// Set sets the faults of a direction, or of both, for all connections that
// there are and will be. It replaces those set before.
func (n *Network) Set(d Direction, f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i, each := range [...]Direction{ToServer, ToClient} {
		if d&each != 0 {
			n.faults[i] = f
		}
	}
	for _, l := range n.links {
		l.Set(d, f)
	}
}

// Links returns the connections in the order in which they were dialled, those
// that are closed or were refused included.
func (n *Network) Links() []*Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.links)
}

// RefuseDials makes Dial fail as if nobody listened, or no longer so.
func (n *Network) RefuseDials(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.refuse = on
}

// FailAccepts makes the next calls of Accept fail, of all listeners together,
// with one of errs each, such as syscall.EMFILE. A call that waits already is
// not disturbed, and connections wait meanwhile.
func (n *Network) FailAccepts(errs ...error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.acceptErrs = append(n.acceptErrs, errs...)
}

// Close closes the listeners and cuts the connections.
func (n *Network) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed = true
	for _, l := range n.listeners {
		l.Close() // an error says that it was closed before
	}
	for _, l := range n.links {
		l.client.Update(func() {
			l.set(Both, Faults{}) // what is stalled ends, too
			l.cut = true
		})
	}
	return nil
}

type listener struct {
	*memnet.Listener
	network *Network
}

// Accept waits for a connection, unless it is to fail.
func (l listener) Accept() (net.Conn, error) {
	n := l.network
	n.mu.Lock()
	if len(n.acceptErrs) > 0 {
		err := n.acceptErrs[0]
		n.acceptErrs = n.acceptErrs[1:]
		n.mu.Unlock()
		return nil, &net.OpError{Op: "accept", Net: "mem", Addr: l.Addr(), Err: err}
	}
	n.mu.Unlock()
	return l.Listener.Accept()
}

func failed(op, name string, err error) error {
	return &net.OpError{Op: op, Net: "mem", Addr: memnet.Addr(name), Err: err}
}
