package vsockrpc

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// ClientOptions configures a Client.
type ClientOptions struct {
	// MaxMessageSize bounds one message from the server, in bytes. 0 means
	// DefaultMaxMessageSize.
	MaxMessageSize int
	// DialTimeout bounds one attempt to connect. 0 means 5 seconds.
	DialTimeout time.Duration
	// Keepalive is how long the connection may be silent before it is tested.
	// 0 means DefaultKeepalive, a negative one never.
	Keepalive time.Duration
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
// then fail with Unavailable at once, and are not repeated, since the server
// may have done them. It is safe for concurrent use.
type Client struct {
	addr Addr
	opts ClientOptions

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
		k.close(errorf(Canceled, "the client was closed"))
		<-k.gone
	}
	if d != nil {
		<-d.done
	}
	return nil
}

// Call makes a unary call: one message there, one back. The caller owns the
// result, and may use req again.
func (c *Client) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	s, err := c.open(ctx, method, false)
	if err != nil {
		return nil, err
	}
	defer s.finish(ctx)
	// Where sending fails, receiving tells why: the server has ended the call,
	// perhaps with an answer, the connection broke, or ctx ended.
	_ = s.send(ctx, req, true, true)
	resp, err := s.recv(ctx)
	if err == io.EOF {
		return nil, errorf(Internal, "the server answered no message")
	}
	if err != nil {
		return nil, err
	}
	if _, err := s.recv(ctx); err != io.EOF {
		if err == nil {
			err = errorf(Internal, "the server answered more than one message")
		}
		return nil, err
	}
	return resp, nil
}

// Stream begins a stream. It ends with ctx, or when the server ends it; call
// Close in any case.
func (c *Client) Stream(ctx context.Context, method string) (*ClientStream, error) {
	s, err := c.open(ctx, method, true)
	if err != nil {
		return nil, err
	}
	cs := &ClientStream{ctx: ctx, s: s}
	cs.stop = context.AfterFunc(ctx, func() { s.finish(ctx) })
	return cs, nil
}

// ClientStream is the client's side of a stream. One goroutine may send while
// another receives.
type ClientStream struct {
	ctx  context.Context
	s    *stream
	stop func() bool
}

// Send sends a message. It waits while the server does not read. After the
// server has ended the stream it returns io.EOF; Recv tells how it ended.
func (s *ClientStream) Send(msg []byte) error { return s.s.send(s.ctx, msg, false, true) }

// CloseSend tells the server that no more messages come.
func (s *ClientStream) CloseSend() { s.s.closeSend() }

// Recv returns the server's next message, which the caller owns, and io.EOF
// when the server has ended the stream well.
func (s *ClientStream) Recv() ([]byte, error) { return s.s.recv(s.ctx) }

// Close ends the stream. If the server has not, the handler is cancelled.
func (s *ClientStream) Close() {
	s.stop()
	s.s.finish(s.ctx)
}

// finish ends a call on the client's side, if the server has not.
func (s *stream) finish(ctx context.Context) {
	s.mu.Lock()
	over := s.err != nil
	s.mu.Unlock()
	if over {
		return
	}
	e := &Error{Code: Canceled, Message: "the call was closed"}
	if ctx.Err() != nil {
		e = ctxError(ctx)
	}
	s.conn.reset(s, e)
}

// open begins a call. Without flush, the caller sends a message at once.
func (c *Client) open(ctx context.Context, method string, flush bool) (*stream, error) {
	if method == "" || len(method) > maxMethod {
		return nil, errorf(InvalidArgument, "a method name has 1 to %d bytes", maxMethod)
	}
	o := &open{method: method, metadata: MetadataFrom(ctx)}
	if err := o.metadata.check(); err != nil {
		return nil, err
	}
	for {
		k, err := c.connection(ctx)
		if err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, ctxError(ctx)
		}
		if deadline, ok := ctx.Deadline(); ok {
			o.timeout = uint64(max(time.Until(deadline).Microseconds(), 1))
		}
		s, err := k.open(o, flush)
		if err != nil {
			c.drop(k) // it broke just now: nothing was sent, so try again
			continue
		}
		return s, nil
	}
}

// connection returns the connection for a new call, making one if need be.
func (c *Client) connection(ctx context.Context) (*conn, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, errorf(Canceled, "the client was closed")
	}
	if k := c.current; k != nil {
		c.mu.Unlock()
		return k, nil
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
	nc, err := Dial(ctx, c.addr.String())
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
		d.err = &Error{Code: Unavailable, Message: "cannot connect", cause: err}
		return
	}
	c.failures = 0
	k := newConn(nc, c.opts.MaxMessageSize, c.opts.Keepalive, c.opts.Logger)
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
	if c.current == k {
		c.current = nil
	}
	c.mu.Unlock()
}
