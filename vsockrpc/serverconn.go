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

	mu    sync.Mutex
	calls map[*stream]context.CancelCauseFunc // handlers that run
}

// open starts the handler of a new call.
func (sc *serverConn) open(id uint32, o *open) error {
	s := sc.server
	refuse := func(code Code, message string) error {
		t := frameRefuse
		if code == Unimplemented {
			t = frameStatus // here or elsewhere, it would be the same
		}
		return sc.conn.out.reply(func(b []byte) []byte { return appendStatus(b, t, id, code, message) })
	}
	s.mu.Lock()
	closed, h := s.closed, s.handlers[o.method]
	if !closed && h.serve != nil {
		s.running.Add(1)
	}
	s.mu.Unlock()
	switch {
	case closed:
		return refuse(Unavailable, "the server is shutting down")
	case h.serve == nil:
		return refuse(Unimplemented, "no such method")
	}
	st := newStream(sc.conn, id)
	st.lent = h.lent
	sc.mu.Lock()
	// Counting handlers, not streams, also bounds what a client can leave
	// running by opening and resetting in a loop.
	if len(sc.calls) >= s.opts.MaxStreams {
		sc.mu.Unlock()
		s.running.Done()
		return refuse(ResourceExhausted, "too many calls on this connection")
	}
	ctx, cancel := context.WithCancelCause(sc.base)
	sc.calls[st] = cancel
	sc.mu.Unlock()
	sc.conn.mu.Lock()
	over := sc.conn.err
	if over == nil {
		sc.conn.streams[id] = st
	}
	sc.conn.mu.Unlock()
	if over != nil {
		st.end(over)
		cancel(over)
	}
	if o.metadata != nil {
		ctx = WithMetadata(ctx, o.metadata)
	}
	stop := context.CancelFunc(func() {})
	if o.timeout > 0 {
		ctx, stop = context.WithTimeout(ctx, timeoutOf(o.timeout))
	}
	go func() {
		defer s.running.Done()
		defer stop()
		sc.run(ctx, st, o.method, h.serve)
	}()
	return nil
}

// run calls the handler.
func (sc *serverConn) run(ctx context.Context, st *stream, method string, h StreamHandler) {
	sc.server.active.Add(1)
	defer sc.server.active.Add(-1)
	// What stays where the handler ends its goroutine instead of returning.
	var err error = errHandler
	var began time.Time
	if sc.server.opts.OnCall != nil {
		began = time.Now()
	}
	defer func() {
		code := sc.ended(ctx, st, err)
		if sc.server.opts.OnCall != nil {
			sc.server.opts.OnCall(st.stats(method, began, code))
		}
	}()
	err = sc.call(ctx, st, method, h)
}

// ended tells the client how the handler ended, and returns how the call did.
func (sc *serverConn) ended(ctx context.Context, st *stream, err error) Code {
	sc.mu.Lock()
	cancel := sc.calls[st]
	delete(sc.calls, st)
	sc.mu.Unlock()
	end := errDone
	if code, message := statusOf(ctx, err); code != OK {
		end = &Error{Code: code, Message: message}
	}
	if st.end(end) {
		sc.conn.remove(st)
		if out := sc.conn.out; out.begin() {
			out.buf = appendStatus(out.buf, frameStatus, st.id, end.Code, end.Message)
			out.flush()
		}
	}
	cancel(nil)
	return st.code()
}

// call runs the handler. A panic fails this call only; its value may hold
// anything, so only its type and place are logged.
func (sc *serverConn) call(ctx context.Context, st *stream, method string, h StreamHandler) (err error) {
	defer func() {
		if v := recover(); v != nil {
			_, file, line, _ := runtime.Caller(2)
			sc.server.opts.Logger.Error("vsockrpc: a handler panicked", "type", fmt.Sprintf("%T", v), "at", fmt.Sprintf("%s:%d", file, line))
			err = errHandler
		}
	}()
	if len(sc.server.opts.Interceptors) == 0 {
		st.server = ServerStream{ctx, st}
		return h(ctx, &st.server)
	}
	return intercept(ctx, sc.server.opts.Interceptors, method, func(ctx context.Context) error {
		st.server = ServerStream{ctx, st}
		return h(ctx, &st.server)
	})
}

// reset cancels the handler of a call that the peer or the connection ended.
func (sc *serverConn) reset(st *stream, code Code) {
	st.discard()
	sc.mu.Lock()
	cancel := sc.calls[st]
	sc.mu.Unlock()
	if cancel != nil {
		cancel(code)
	}
}
