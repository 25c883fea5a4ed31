package proxy

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/neterr"
)

// ErrClosed is what Serve returns after Shutdown or Close.
var ErrClosed = errors.New("proxy: forwarder closed")

// ForwarderOptions configures a Forwarder.
type ForwarderOptions struct {
	// Target is the host:port to forward to: a host name or an IP address
	// (IPv6 in brackets), and a number. Required.
	//
	// A name is resolved for each connection, since addresses of AWS
	// endpoints change. Its addresses are tried one after the other.
	Target string
	// Allowlist must name Target, or NewForwarder returns ErrNotAllowed. nil
	// means that none is needed, for the target is fixed here, by whoever
	// runs the parent, and an enclave cannot choose another. Give one where
	// targets come from elsewhere. An empty one allows nothing.
	Allowlist *Allowlist
	// AllowLocal permits a name that resolves to loopback, link-local,
	// unspecified or multicast addresses or to the instance metadata service.
	// Without it such addresses are left out, so that whoever answers for the
	// name cannot point the enclave at what only this machine may reach. A
	// Target that is an IP address itself is taken as it is in any case.
	AllowLocal bool
	// MaxConns bounds the connections; further ones are closed at once. 0
	// means 512.
	MaxConns int
	// DialTimeout bounds resolving the target's name and connecting to it,
	// with all its addresses together. 0 means 10 seconds.
	DialTimeout time.Duration
	// IdleTimeout ends connections on which nothing passes in either
	// direction, also half-closed ones. It may come up to a tenth early, and
	// a reader must take each 32 KiB within it. 0 means 5 minutes.
	IdleTimeout time.Duration
	// Resolver resolves names. nil means net.DefaultResolver.
	Resolver Resolver
	// Dial connects to an address, IP:port, with network "tcp". It may be
	// called concurrently and must heed ctx. nil means a net.Dialer. A
	// connection whose CloseWrite fails, or that has none, is closed wholly
	// when the enclave has sent all it wants to.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Logger gets a record a connection: bytes and how it ended, no content.
	// nil is silent.
	Logger *slog.Logger
}

// Forwarder passes connections on to one target. It is safe for concurrent
// use.
type Forwarder struct {
	opts     ForwarderOptions
	target   target
	lookup   string // the target's host as it was given, for the resolver
	slots    chan struct{}
	counters counters

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	running   sync.WaitGroup
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
}

// NewForwarder checks opts and returns a Forwarder. Nothing is resolved yet.
//
// Errors: ErrNotAllowed, and others for a Target that is not host:port.
func NewForwarder(opts ForwarderOptions) (*Forwarder, error) {
	t, err := parseTarget(opts.Target)
	if err != nil {
		return nil, err
	}
	if opts.Allowlist != nil && !opts.Allowlist.allows(t) {
		return nil, fmt.Errorf("%w: %s", ErrNotAllowed, t)
	}
	lookup, _, _ := net.SplitHostPort(opts.Target) // as parseTarget did
	if opts.MaxConns <= 0 {
		opts.MaxConns = 512
	}
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 10 * time.Second
	}
	if opts.IdleTimeout <= 0 {
		opts.IdleTimeout = 5 * time.Minute
	}
	if opts.Resolver == nil {
		opts.Resolver = net.DefaultResolver
	}
	if opts.Dial == nil {
		opts.Dial = new(net.Dialer).DialContext
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Forwarder{
		opts: opts, target: t, lookup: lookup, slots: make(chan struct{}, opts.MaxConns),
		listeners: map[net.Listener]struct{}{}, conns: map[net.Conn]struct{}{}, ctx: ctx, cancel: cancel,
	}, nil
}

// Serve accepts connections from l, which it closes, until Shutdown, Close or
// an error of l. Where the process is out of file descriptors, or the like, it
// tries again.
func (f *Forwarder) Serve(l net.Listener) error {
	if l == nil {
		return errors.New("proxy: no listener to serve")
	}
	defer l.Close()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.listeners[l] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.listeners, l)
		f.mu.Unlock()
	}()
	for delay := time.Millisecond; ; {
		c, err := l.Accept()
		if err != nil {
			f.mu.Lock()
			closed := f.closed
			f.mu.Unlock()
			if closed {
				return ErrClosed
			}
			if !neterr.Temporary(err) {
				return fmt.Errorf("proxy: accepting: %w", err)
			}
			f.opts.Logger.Warn("proxy: accepting failed, trying again", "target", f.opts.Target, "error", err, "in", delay)
			select {
			case <-time.After(delay):
			case <-f.ctx.Done():
			}
			delay = min(2*delay, time.Second)
			continue
		}
		delay = time.Millisecond
		select {
		case f.slots <- struct{}{}:
			if !f.begin(c) {
				<-f.slots
				f.counters.refused.Add(1)
				continue
			}
			f.counters.accepted.Add(1)
			f.counters.active.Add(1)
			go f.forward(c)
		default:
			f.counters.refused.Add(1)
			f.opts.Logger.Warn("proxy: too many connections", "target", f.opts.Target, "limit", f.opts.MaxConns)
			c.Close()
		}
	}
}

// Shutdown stops accepting, waits until the connections have ended or ctx
// has, and closes what is left.
func (f *Forwarder) Shutdown(ctx context.Context) error {
	f.mu.Lock()
	f.stop()
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	f.Close()
	return err
}

// stop closes the listeners. It needs f.mu.
func (f *Forwarder) stop() {
	f.closed = true
	for l := range f.listeners {
		l.Close()
	}
}

// Close stops accepting, ends all connections and waits for them.
func (f *Forwarder) Close() error {
	f.cancel()
	f.mu.Lock()
	f.stop()
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
	return nil
}

// begin notes a connection from the enclave, unless no more are taken.
func (f *Forwarder) begin(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.track(c, !f.closed)
}

// reached notes the connection to the target, unless it comes after Close.
func (f *Forwarder) reached(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.track(c, f.ctx.Err() == nil)
}

// track notes a connection, so that Close can end it, or closes it where it
// is not wanted any more. It needs f.mu.
func (f *Forwarder) track(c net.Conn, wanted bool) bool {
	if !wanted {
		c.Close()
		return false
	}
	f.conns[c] = struct{}{}
	f.running.Add(1)
	return true
}

func (f *Forwarder) untrack(c net.Conn) {
	f.mu.Lock()
	delete(f.conns, c)
	f.mu.Unlock()
	c.Close()
	f.running.Done()
}

// forward passes one connection on, both ways.
func (f *Forwarder) forward(enclave net.Conn) {
	defer f.untrack(enclave)
	defer func() { // before the enclave sees the end, so that its next connection has a place
		f.counters.active.Add(-1)
		<-f.slots
	}()
	target, err := f.connect()
	if err != nil {
		f.unreachable(err)
		return
	}
	if !f.reached(target) {
		return
	}
	defer f.untrack(target)

	start := time.Now()
	idle := &idleTimer{timeout: f.opts.IdleTimeout, conns: [2]net.Conn{enclave, target}}
	idle.touch()
	var up int64
	var upIdle bool
	upDone := make(chan struct{})
	go func() {
		defer close(upDone)
		up, upIdle = pipe(target, enclave, idle, &f.counters.up)
	}()
	down, downIdle := pipe(enclave, target, idle, &f.counters.down)
	<-upDone
	timedOut := upIdle || downIdle
	if timedOut {
		f.counters.idleTimeouts.Add(1)
	}
	f.opts.Logger.Info("proxy: connection done", "target", f.opts.Target, "bytes_up", up, "bytes_down", down,
		"ms", time.Since(start).Milliseconds(), "idle", timedOut)
}

// unreachable notes that a connection had to end without the target. One that
// Close ended is no fault of the target's.
func (f *Forwarder) unreachable(err error) {
	if f.ctx.Err() != nil {
		return
	}
	f.counters.dialErrors.Add(1)
	if errors.Is(err, errForbidden) {
		f.counters.forbidden.Add(1)
	}
	f.opts.Logger.Warn("proxy: the target cannot be reached", "target", f.opts.Target, "error", err)
}
