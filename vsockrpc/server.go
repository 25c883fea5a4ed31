package vsockrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/neterr"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("vsockrpc: server closed")

// Handler answers a unary call. It owns req. Its context ends with the
// client's deadline, when the client cancels or the connection breaks.
type Handler func(ctx context.Context, req []byte) ([]byte, error)

// StreamHandler serves a stream: it receives and sends as it likes, and the
// call ends when it returns.
type StreamHandler func(ctx context.Context, s *ServerStream) error

// ServerOptions configures a Server.
type ServerOptions struct {
	// MaxMessageSize bounds one message, in bytes. 0 means
	// DefaultMaxMessageSize.
	MaxMessageSize int
	// MaxStreams bounds the handlers that run for one connection. Calls
	// beyond it fail with ResourceExhausted. 0 means 1,024.
	MaxStreams int
	// MaxConns bounds the connections; further ones are closed at once. 0
	// means 256.
	MaxConns int
	// Keepalive is how long a connection may be silent before it is tested.
	// 0 means DefaultKeepalive, a negative one never.
	Keepalive time.Duration
	// Interceptors stand around all handlers, the first outermost.
	Interceptors []Interceptor
	// OnCall is told of each call whose handler has ended, on the handler's
	// goroutine. nil: nothing is.
	OnCall func(CallStats)
	// Logger is told of broken connections and panics, never of contents.
	// nil is silent.
	Logger *slog.Logger
}

// Server serves calls. It is safe for concurrent use.
type Server struct {
	opts ServerOptions

	mu       sync.Mutex
	handlers map[string]handler
	serving  bool
	closed   bool
	listener map[net.Listener]struct{}
	conns    map[*conn]struct{}
	running  sync.WaitGroup // handlers
	readers  sync.WaitGroup // connections
	active   atomic.Int64   // handlers
}

// ServerStats says how busy a server is now.
type ServerStats struct {
	Conns int // connections
	Calls int // handlers that run
}

// Stats returns what the server is doing at this moment, for metrics and for
// scaling by load.
func (s *Server) Stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerStats{len(s.conns), int(s.active.Load())}
}

type peerKey struct{}

// PeerAddr returns the address of the client whose call a handler serves, by
// the context that the handler got, and nil for other contexts. For vsock it is
// a *vsock.Addr with the peer's context id, which the hypervisor vouches for.
func PeerAddr(ctx context.Context) net.Addr {
	addr, _ := ctx.Value(peerKey{}).(net.Addr)
	return addr
}

// NewServer returns a server without handlers.
func NewServer(opts ServerOptions) *Server {
	if opts.MaxMessageSize <= 0 {
		opts.MaxMessageSize = DefaultMaxMessageSize
	}
	if opts.MaxStreams <= 0 {
		opts.MaxStreams = 1024
	}
	if opts.MaxConns <= 0 {
		opts.MaxConns = 256
	}
	if opts.Keepalive == 0 {
		opts.Keepalive = DefaultKeepalive
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Server{
		opts: opts, handlers: map[string]handler{},
		listener: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{},
	}
}

// handler is what is registered for a method.
type handler struct {
	method string
	serve  StreamHandler
	lent   bool // messages are given back
}

// Handle registers a unary handler for a method name of 1 to 255 bytes. It
// panics on a second handler for the name or once the server serves, both of
// which are mistakes in the program.
func (s *Server) Handle(method string, h Handler) { s.handleUnary(method, h, false) }

// HandleLent is Handle for handlers that do not keep their requests: req is
// theirs only until they return. Then it is erased and its memory used for
// other messages, so that large requests cost no garbage and what they said
// does not stay in memory. The answer may be part of req.
func (s *Server) HandleLent(method string, h Handler) { s.handleUnary(method, h, true) }

func (s *Server) handleUnary(method string, h Handler, lent bool) {
	s.register(method, handler{lent: lent, serve: func(ctx context.Context, st *ServerStream) error {
		req, err := st.Recv()
		if err == io.EOF {
			return errorf(InvalidArgument, "a unary call without a message")
		}
		if err != nil {
			return err
		}
		if lent {
			defer giveBack(req)
		}
		resp, err := h(ctx, req)
		if err != nil {
			return err
		}
		return st.s.send(ctx, resp, false, false) // STATUS follows
	}})
}

// HandleStream registers a stream handler, with the rules of Handle.
func (s *Server) HandleStream(method string, h StreamHandler) {
	s.register(method, handler{serve: h})
}

func (s *Server) register(method string, h handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if method == "" || len(method) > maxMethod || s.serving || s.handlers[method].serve != nil {
		panic(fmt.Sprintf("vsockrpc: handler %q: bad name, registered twice, or after Serve", method))
	}
	h.method = method
	s.handlers[method] = h
}

// Serve accepts connections from l until Shutdown, Close or an error of l,
// which it closes. It may be called for several listeners.
func (s *Server) Serve(l net.Listener) error {
	if l == nil {
		return errors.New("vsockrpc: no listener to serve")
	}
	defer l.Close()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrServerClosed
	}
	s.serving = true
	s.listener[l] = struct{}{}
	s.mu.Unlock()
	for delay := time.Millisecond; ; {
		nc, err := l.Accept()
		if err == nil {
			delay = time.Millisecond
			s.start(nc)
			continue
		}
		s.mu.Lock()
		closed := s.closed
		s.mu.Unlock()
		if closed {
			return ErrServerClosed
		}
		if !neterr.Temporary(err) {
			return fmt.Errorf("vsockrpc: accepting: %w", err)
		}
		s.opts.Logger.Warn("vsockrpc: accepting failed, trying again", "error", err, "in", delay)
		time.Sleep(delay)
		delay = min(2*delay, time.Second)
	}
}

// start serves one connection, unless there are too many.
func (s *Server) start(nc net.Conn) {
	c := newConn(nc, s.opts.MaxMessageSize, s.opts.Keepalive, s.opts.Logger)
	sc := &serverConn{
		server: s, conn: c,
		base: context.WithValue(context.Background(), peerKey{}, nc.RemoteAddr()),
	}
	c.onOpen, c.onReset = sc.open, sc.reset
	s.mu.Lock()
	if s.closed || len(s.conns) >= s.opts.MaxConns {
		s.mu.Unlock()
		nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.readers.Add(1)
	s.mu.Unlock()
	go func() {
		defer s.readers.Done()
		c.serve()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
}

// lastWait is how long clients have to close their connections when their last
// call has ended.
const lastWait = time.Second

// Shutdown stops accepting connections and calls, tells clients so, waits for
// the calls under way until ctx ends, and then closes what is left.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, c := range s.stop() {
		c.out.put(func(b []byte) []byte { return append32(b, frameGoAway, 0, uint32(OK)) })
	}
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
		gone := make(chan struct{})
		go func() {
			s.readers.Wait()
			close(gone)
		}()
		// Clients close their connections when they know how their calls
		// ended. Who closes first may lose what is under way to the other.
		patience := time.NewTimer(lastWait)
		defer patience.Stop()
		select {
		case <-gone:
		case <-ctx.Done():
		case <-patience.C:
			// Let what is written reach the peers.
			for _, c := range s.stop() {
				c.out.close()
			}
			select {
			case <-gone:
			case <-ctx.Done():
			}
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return err
}

// stop closes the listeners and returns the connections.
func (s *Server) stop() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listener {
		l.Close()
		delete(s.listener, l)
	}
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// Close ends everything at once. Handlers that still run have their contexts
// cancelled and are not waited for.
func (s *Server) Close() error {
	for _, c := range s.stop() {
		c.close(errorf(Unavailable, "the server was closed"))
	}
	s.readers.Wait()
	return nil
}

// ServerStream is the handler's side of a call. One goroutine may send while
// another receives.
type ServerStream struct {
	ctx context.Context
	s   *stream
}

// Recv returns the client's next message, which the caller owns, and io.EOF
// after the last one.
func (s *ServerStream) Recv() ([]byte, error) { return s.s.recv(s.ctx) }

// Send sends a message to the client. It waits while the client does not read,
// until the call ends. The message may be used again when Send returns.
func (s *ServerStream) Send(msg []byte) error { return s.s.send(s.ctx, msg, false, true) }
