package vsockrpc

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

// serverConn is a connection's calls.
type serverConn struct {
	server *Server
	conn   *conn
	base   context.Context // of all calls

	mu      sync.Mutex
	running int // handlers
}

// call is what a handler's goroutine needs.
type call struct {
	ctx    context.Context
	st     *stream
	method string
	h      StreamHandler
}

// open starts the handler of a new call.
func (sc *serverConn) open(id uint32, o open) error {
	s := sc.server
	s.mu.Lock()
	closed, h := s.closed, s.handlers[string(o.method)]
	if !closed && h.serve != nil {
		s.running.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return sc.refuse(id, Unavailable, "the server is shutting down")
	case h.serve == nil:
		return sc.refuse(id, Unimplemented, "no such method")
	}
	sc.mu.Lock()
	// Counting handlers, not streams, also bounds what a client can leave
	// running by opening and resetting in a loop.
	full := sc.running >= s.opts.MaxStreams
	if !full {
		sc.running++
	}
	sc.mu.Unlock()
	if full {
		s.running.Done()
		return sc.refuse(id, ResourceExhausted, "too many calls on this connection")
	}
	st := newStream(sc.conn, id)
	st.lent = h.lent
	c := &call{st: st, method: h.method, h: h.serve}
	if o.timeout > 0 {
		c.ctx, st.cancel = context.WithTimeout(sc.base, timeoutOf(o.timeout))
	} else {
		c.ctx, st.cancel = context.WithCancel(sc.base)
	}
	if o.metadata != nil {
		c.ctx = WithMetadata(c.ctx, o.metadata)
	}
	sc.conn.mu.Lock()
	over := sc.conn.err
	if over == nil {
		sc.conn.streams[id] = st
	}
	sc.conn.mu.Unlock()
	if over != nil {
		st.end(over)
		st.cancel()
	}
	go sc.run(c)
	return nil
}

// refuse answers a call that was not begun.
func (sc *serverConn) refuse(id uint32, code Code, message string) error {
	t := frameRefuse
	if code == Unimplemented {
		t = frameStatus // here or elsewhere, it would be the same
	}
	return sc.conn.out.reply(func(b []byte) []byte { return appendStatus(b, t, id, code, message) })
}

// run calls the handler.
func (sc *serverConn) run(c *call) {
	s := sc.server
	s.active.Add(1)
	// What stays where the handler ends its goroutine instead of returning.
	var err error = errHandler
	var began time.Time
	if s.opts.OnCall != nil {
		began = time.Now()
	}
	defer func() {
		code := sc.ended(c, err)
		s.active.Add(-1)
		s.running.Done()
		if s.opts.OnCall != nil {
			s.opts.OnCall(c.st.stats(c.method, began, code))
		}
	}()
	err = sc.call(c)
}

// ended tells the client how the handler ended, and returns how the call did.
func (sc *serverConn) ended(c *call, err error) Code {
	// A client that does not read how its calls end keeps their places, so that
	// what waits for it is bounded.
	if ok, _ := sc.conn.out.wait(context.Background(), nil); ok {
		sc.conn.out.hold()
	}
	sc.mu.Lock()
	sc.running--
	sc.mu.Unlock()
	st, end := c.st, errDone
	if code, message := statusOf(c.ctx, err); code != OK {
		end = &Error{Code: code, Message: message}
	}
	if st.end(end) {
		sc.conn.remove(st)
		if out := sc.conn.out; out.begin() {
			out.buf = appendStatus(out.buf, frameStatus, st.id, end.Code, end.Message)
			out.flush()
		}
	}
	if st.lent {
		st.discard() // what the handler did not take is erased, too
	}
	st.cancel()
	return st.code()
}

// call runs the handler. A panic fails this call only; its value may hold
// anything, so only its type and place are logged.
func (sc *serverConn) call(c *call) (err error) {
	defer func() {
		if v := recover(); v != nil {
			_, file, line, _ := runtime.Caller(2)
			sc.server.opts.Logger.Error("vsockrpc: a handler panicked", "type", fmt.Sprintf("%T", v), "at", fmt.Sprintf("%s:%d", file, line))
			err = errHandler
		}
	}()
	if len(sc.server.opts.Interceptors) == 0 {
		return c.handle(c.ctx)
	}
	return intercept(c.ctx, sc.server.opts.Interceptors, c.method, c.handle)
}

func (c *call) handle(ctx context.Context) error {
	c.st.server = ServerStream{ctx, c.st}
	return c.h(ctx, &c.st.server)
}

// reset cancels the handler of a call that the peer or the connection ended.
func (sc *serverConn) reset(st *stream) {
	st.discard()
	st.cancel()
}
