package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// Serve accepts connections from l, which it closes, until Shutdown, Close or
// an error of l. Where the process is out of file descriptors, or the like, it
// tries again.
func (f *Forwarder) Serve(l net.Listener) error {
	defer l.Close()
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return ErrClosed
	}
	f.listeners[l] = struct{}{}
	f.mu.Unlock()
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
				continue
			}
			go f.forward(c)
		default:
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
	defer func() { <-f.slots }()
	defer f.untrack(enclave)
	dialer := net.Dialer{Timeout: f.opts.DialTimeout}
	target, err := dialer.DialContext(f.ctx, "tcp", f.opts.Target)
	if err != nil {
		f.opts.Logger.Warn("proxy: the target cannot be reached", "target", f.opts.Target, "error", err)
		return
	}
	if !f.reached(target) {
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
