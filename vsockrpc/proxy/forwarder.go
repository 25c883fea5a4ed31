package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"
)

// ErrClosed is what Serve returns after Close.
var ErrClosed = errors.New("proxy: forwarder closed")

// ForwarderOptions configures a Forwarder.
type ForwarderOptions struct {
	// Target is the host:port to forward to. Its name is resolved for each
	// connection, since addresses of AWS endpoints change. Required.
	Target string
	// MaxConns bounds the connections; further ones are closed at once. 0
	// means 512.
	MaxConns int
	// DialTimeout bounds connecting to the target. 0 means 10 seconds.
	DialTimeout time.Duration
	// IdleTimeout ends connections on which nothing passes in either
	// direction. 0 means 5 minutes.
	IdleTimeout time.Duration
	// Logger gets a record a connection: bytes and how it ended, no content.
	// nil is silent.
	Logger *slog.Logger
}

// Forwarder passes connections on to one target. It is safe for concurrent
// use.
type Forwarder struct {
	opts  ForwarderOptions
	slots chan struct{}

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	running   sync.WaitGroup
	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
}

// NewForwarder checks opts and returns a Forwarder.
func NewForwarder(opts ForwarderOptions) (*Forwarder, error) {
	if err := checkTarget(opts.Target); err != nil {
		return nil, err
	}
	if opts.MaxConns <= 0 {
		opts.MaxConns = 512
	}
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 10 * time.Second
	}
	if opts.IdleTimeout <= 0 {
		opts.IdleTimeout = 5 * time.Minute
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Forwarder{
		opts: opts, slots: make(chan struct{}, opts.MaxConns),
		listeners: map[net.Listener]struct{}{}, conns: map[net.Conn]struct{}{}, ctx: ctx, cancel: cancel,
	}, nil
}

// Serve accepts connections from l, which it closes, until Close or an error
// of l.
func (f *Forwarder) Serve(l net.Listener) error {
	defer l.Close()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.listeners[l] = struct{}{}
	f.mu.Unlock()
	for {
		c, err := l.Accept()
		if err != nil {
			if f.ctx.Err() != nil {
				return ErrClosed
			}
			return err
		}
		select {
		case f.slots <- struct{}{}:
			if !f.track(c) {
				<-f.slots
				continue
			}
			go f.forward(c)
		default:
			f.opts.Logger.Warn("proxy: too many connections", "target", f.opts.Target, "limit", f.opts.MaxConns)
			c.Close()
		}
	}
}

// Close stops accepting, ends all connections and waits for them.
func (f *Forwarder) Close() error {
	f.cancel()
	f.mu.Lock()
	f.closed = true
	for l := range f.listeners {
		l.Close()
	}
	for c := range f.conns {
		c.Close()
	}
	f.mu.Unlock()
	f.running.Wait()
	return nil
}

// track notes a connection, so that Close can end it.
func (f *Forwarder) track(c net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
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
	defer func() { <-f.slots }()
	defer f.untrack(enclave)
	dialer := net.Dialer{Timeout: f.opts.DialTimeout}
	target, err := dialer.DialContext(f.ctx, "tcp", f.opts.Target)
	if err != nil {
		f.opts.Logger.Warn("proxy: the target cannot be reached", "target", f.opts.Target, "error", err)
		return
	}
	if !f.track(target) {
		return
	}
	defer f.untrack(target)

	start := time.Now()
	idle := &idleTimer{timeout: f.opts.IdleTimeout, conns: [2]net.Conn{enclave, target}}
	idle.touch()
	up := make(chan int64, 1)
	go func() { up <- pipe(target, enclave, idle) }()
	down := pipe(enclave, target, idle)
	f.opts.Logger.Info("proxy: connection done", "target", f.opts.Target, "bytes_up", <-up, "bytes_down", down, "ms", time.Since(start).Milliseconds())
}

// chunk is how much is passed on at once: some kernels corrupt larger writes
// to vsock.
const chunk = 32 << 10

// pipe copies until src ends and passes the end on, so that the other
// direction can still finish. Where that cannot be told apart, or on an error,
// both are closed.
func pipe(dst, src net.Conn, idle *idleTimer) (n int64) {
	buf := make([]byte, chunk)
	for {
		k, err := src.Read(buf)
		if k > 0 {
			idle.touch()
			if _, werr := dst.Write(buf[:k]); werr != nil {
				err = werr
			} else {
				n += int64(k)
			}
		}
		if err == nil {
			continue
		}
		half, ok := dst.(interface{ CloseWrite() error })
		if !errors.Is(err, io.EOF) || !ok || half.CloseWrite() != nil {
			dst.Close()
			src.Close()
		}
		return n
	}
}

// idleTimer sets the deadlines of both directions on every sign of life.
type idleTimer struct {
	timeout time.Duration
	conns   [2]net.Conn
	mu      sync.Mutex
	last    time.Time
}

func (t *idleTimer) touch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	// Setting deadlines costs system calls; a tenth of the time-out is
	// precise enough.
	if now.Sub(t.last) < t.timeout/10 {
		return
	}
	t.last = now
	for _, c := range t.conns {
		c.SetDeadline(now.Add(t.timeout))
	}
}
