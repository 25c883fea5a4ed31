package vsockrpc

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// ClientOptions configures a Client.
type ClientOptions struct {
	// MaxMessageSize bounds one message from the server, in bytes. 0 means
	// DefaultMaxMessageSize.
	MaxMessageSize int
	// Dial makes connections. nil means the function Dial; others can go
	// through something else, or through package vsocktest.
	Dial func(ctx context.Context, addr Addr) (net.Conn, error)
	// DialTimeout bounds one attempt to connect. 0 means 5 seconds.
	DialTimeout time.Duration
	// Keepalive is how long the connection may be silent before it is tested.
	// 0 means DefaultKeepalive, a negative one never.
	Keepalive time.Duration
	// Interceptors stand around unary calls and around the beginning of
	// streams, the first outermost.
	Interceptors []Interceptor
	// OnCall is told of each call when it has ended, of a stream when it is
	// closed, on the caller's goroutine. nil: nothing is.
	OnCall func(CallStats)
	// Logger is told of broken connections, never of contents. nil is silent.
	Logger *slog.Logger
}

// Times between attempts to connect: after each failure twice as long, up to
// the most, less up to a half at random.
const (
	firstBackoff = 50 * time.Millisecond
	mostBackoff  = time.Second
)

// Client calls one server over one connection. It connects when it is first
// used and again when the connection has broken; calls that were under way
// then fail with Unavailable at once, and are not repeated if the server may
// have begun them. It is safe for concurrent use.
type Client struct {
	addr   Addr
	opts   ClientOptions
	onDown func() // of a pool: new calls have no connection any more; may be nil

	mu       sync.Mutex
	current  *conn              // for new calls, nil if there is none
	conns    map[*conn]struct{} // all, also those that only finish calls
	dial     *dialing           // the attempt under way, if any
	failures int                // since the last success
	earliest time.Time          // of the next attempt
	closed   bool
	ctx      context.Context // of attempts to connect; ends with Close
	cancel   context.CancelFunc
}

// dialing is an attempt to connect that several calls may wait for.
type dialing struct {
	done chan struct{}
	conn *conn
	err  *Error
}

// NewClient returns a client of the server at addr. It does not connect yet.
func NewClient(addr string, opts ClientOptions) (*Client, error) {
	a, err := ParseAddr(addr)
	if err != nil {
		return nil, err
	}
	if opts.MaxMessageSize <= 0 {
		opts.MaxMessageSize = DefaultMaxMessageSize
	}
	if opts.Dial == nil {
		opts.Dial = func(ctx context.Context, a Addr) (net.Conn, error) { return Dial(ctx, a.String()) }
	}
	if opts.DialTimeout <= 0 {
		opts.DialTimeout = 5 * time.Second
	}
	if opts.Keepalive == 0 {
		opts.Keepalive = DefaultKeepalive
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{addr: a, opts: opts, conns: map[*conn]struct{}{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c, nil
}

// Close ends the connection, attempts to connect, and all calls.
func (c *Client) Close() error {
	c.end(errorf(Canceled, "the client was closed"))
	return nil
}

// end is Close that says why.
func (c *Client) end(e *Error) {
	c.cancel()
	c.mu.Lock()
	c.closed = true
	d := c.dial
	all := make([]*conn, 0, len(c.conns))
	for k := range c.conns {
		all = append(all, k)
	}
	c.mu.Unlock()
	for _, k := range all {
		k.close(e)
		<-k.gone
	}
	if d != nil {
		<-d.done
	}
}

// errNotConnected is how calls fail that are not to wait for a connection.
var errNotConnected = &Error{Code: Unavailable, Message: "not connected", unprocessed: true}

// connection returns the connection for a new call, making one with dial if
// need be.
func (c *Client) connection(ctx context.Context, dial bool) (*conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, &Error{Code: Canceled, Message: "the client was closed", unprocessed: true}
	}
	if k := c.current; k != nil {
		c.mu.Unlock()
		return k, nil
	}
	if !dial {
		c.mu.Unlock()
		return nil, errNotConnected
	}
	d := c.dial
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		c.dial = d
		go c.connect(d, time.Until(c.earliest))
	}
	c.mu.Unlock()
	select {
	case <-d.done:
	case <-ctx.Done():
		return nil, ctxError(ctx)
	}
	if d.err != nil {
		return nil, d.err
	}
	return d.conn, nil
}

// connect makes one attempt, after wait.
func (c *Client) connect(d *dialing, wait time.Duration) {
	pause := time.NewTimer(max(wait, 0))
	select {
	case <-pause.C:
	case <-c.ctx.Done():
		pause.Stop()
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.opts.DialTimeout)
	nc, err := c.opts.Dial(ctx, c.addr)
	cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(d.done)
	c.dial = nil
	if c.closed {
		if err == nil {
			nc.Close()
		}
		d.err = errorf(Canceled, "the client was closed")
		return
	}
	if err != nil {
		backoff := min(firstBackoff<<min(c.failures, 10), mostBackoff)
		c.failures++
		c.earliest = time.Now().Add(backoff - rand.N(backoff/2))
		d.err = &Error{Code: Unavailable, Message: "cannot connect", cause: err, unprocessed: true}
		return
	}
	c.failures = 0
	k := newConn(nc, c.opts.MaxMessageSize, c.opts.Keepalive, c.opts.Logger)
	k.turn.shared = nc.SetReadDeadline(time.Time{}) == nil // kick needs deadlines
	k.onGoAway = func() { c.drop(k) }
	k.onStatus = func(s *stream, e *Error) { s.end(e) }
	c.conns[k] = struct{}{}
	c.current, d.conn = k, k
	go func() {
		k.serve()
		c.drop(k)
		c.mu.Lock()
		delete(c.conns, k)
		c.mu.Unlock()
	}()
}

// drop keeps new calls from k.
func (c *Client) drop(k *conn) {
	c.mu.Lock()
	down := c.current == k
	if down {
		c.current = nil
	}
	c.mu.Unlock()
	if down && c.onDown != nil {
		c.onDown()
	}
}

// live reports whether there is a connection that takes calls, and on which
// the server has been heard: before, it may wait for somebody to accept it.
func (c *Client) live() bool {
	c.mu.Lock()
	k := c.current
	c.mu.Unlock()
	return k != nil && k.lastRead.Load() != 0 && k.takesCalls()
}

// Ping connects if need be, and waits for the server to answer a PING.
func (c *Client) Ping(ctx context.Context) error {
	k, err := c.connection(ctx, true)
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // the answer might come before ping sees it
		return ctxError(ctx)
	}
	return k.ping(ctx)
}
