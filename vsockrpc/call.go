package vsockrpc

import (
	"context"
	"sync"
	"time"
	"unicode/utf8"
)

// Call makes a unary call: one message there, one back. The caller owns the
// result, and may use req again. A call that the connection broke before
// anything of it was written, or that the server refused because it shuts
// down, is made once more on a new connection.
func (c *Client) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return c.AppendCall(ctx, nil, method, req)
}

// AppendCall is Call that appends the answer to dst, within dst's memory if it
// has room: req must not be in there. After an error dst holds what it held, but
// the memory behind it may have changed.
func (c *Client) AppendCall(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error) {
	if len(c.opts.Interceptors) == 0 {
		return c.call(ctx, dst, method, req)
	}
	return interceptCall(ctx, c.opts.Interceptors, dst, method, func(ctx context.Context) ([]byte, error) {
		return c.call(ctx, dst, method, req)
	})
}

// interceptCall makes a unary call inside the interceptors.
func interceptCall(ctx context.Context, all []Interceptor, dst []byte, method string, call func(context.Context) ([]byte, error)) ([]byte, error) {
	out := dst
	err := intercept(ctx, all, method, func(ctx context.Context) (err error) {
		out, err = call(ctx)
		return err
	})
	if err != nil {
		return dst, err
	}
	return out, nil
}

func (c *Client) call(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error) {
	resp, opened, err := c.callOnce(ctx, dst, method, req, true)
	if err != nil && opened && Unprocessed(err) && CodeOf(err) == Unavailable && ctx.Err() == nil {
		resp, _, err = c.callOnce(ctx, dst, method, req, true)
	}
	return resp, err
}

// callOnce reports whether there was a connection. Without dial it makes none.
func (c *Client) callOnce(ctx context.Context, dst []byte, method string, req []byte, dial bool) (resp []byte, opened bool, err error) {
	var began time.Time
	if c.opts.OnCall != nil {
		began = time.Now()
	}
	room := dst[len(dst):]
	s, err := c.open(ctx, method, true, room, dial)
	if err != nil {
		if c.opts.OnCall != nil {
			c.opts.OnCall(CallStats{Method: method, Code: CodeOf(err), Began: began, Took: time.Since(began)})
		}
		return dst, false, err
	}
	// Where sending fails, receiving tells why: the server has ended the call,
	// perhaps with an answer, the connection broke, or ctx ended.
	_ = s.send(ctx, req, true, true)
	answer, err := s.answer(ctx)
	s.finish(ctx)
	if c.opts.OnCall != nil {
		c.opts.OnCall(s.stats(method, began, CodeOf(err)))
	}
	switch {
	case err != nil:
		return dst, true, err
	case len(dst) == 0 && (len(answer) > cap(room) || dst == nil):
		return answer, true, nil
	case len(answer) <= cap(room):
		return dst[:len(dst)+len(answer)], true, nil // it is there already
	}
	return append(dst, answer...), true, nil
}

// Stream begins a stream. It ends with ctx, or when the server ends it; call
// Close in any case.
func (c *Client) Stream(ctx context.Context, method string) (*ClientStream, error) {
	if len(c.opts.Interceptors) == 0 {
		return c.stream(ctx, method, true)
	}
	return interceptStream(ctx, c.opts.Interceptors, method, func(ctx context.Context) (*ClientStream, error) {
		return c.stream(ctx, method, true)
	})
}

// interceptStream begins a stream inside the interceptors.
func interceptStream(ctx context.Context, all []Interceptor, method string, begin func(context.Context) (*ClientStream, error)) (*ClientStream, error) {
	var cs *ClientStream
	err := intercept(ctx, all, method, func(ctx context.Context) (err error) {
		if cs != nil {
			return errorf(Internal, "an interceptor began a stream again")
		}
		cs, err = begin(ctx)
		return err
	})
	if err != nil {
		if cs != nil {
			cs.Close()
		}
		return nil, err
	}
	return cs, nil
}

func (c *Client) stream(ctx context.Context, method string, dial bool) (*ClientStream, error) {
	began := time.Now()
	s, err := c.open(ctx, method, false, nil, dial)
	if err != nil {
		if c.opts.OnCall != nil {
			c.opts.OnCall(CallStats{Method: method, Code: CodeOf(err), Began: began, Took: time.Since(began)})
		}
		return nil, err
	}
	s.watched = ctx.Done()
	cs := &ClientStream{ctx: ctx, s: s, client: c, method: method, began: began}
	cs.stop = context.AfterFunc(ctx, func() { s.finish(ctx) })
	return cs, nil
}

// ClientStream is the client's side of a stream. One goroutine may send while
// another receives. Close may be called at any time.
type ClientStream struct {
	ctx    context.Context
	s      *stream
	stop   func() bool
	client *Client
	method string
	began  time.Time
	closed sync.Once
	target *target // of a pool; nil without
}

// Send sends a message. It waits while the server does not read. After the
// server has ended the stream it returns io.EOF; Recv tells how it ended.
func (s *ClientStream) Send(msg []byte) error { return s.s.send(s.ctx, msg, false, true) }

// SendLast is Send and CloseSend in one.
func (s *ClientStream) SendLast(msg []byte) error { return s.s.send(s.ctx, msg, true, true) }

// CloseSend tells the server that no more messages come.
func (s *ClientStream) CloseSend() { s.s.closeSend() }

// Recv returns the server's next message, which the caller owns, and io.EOF
// when the server has ended the stream well.
func (s *ClientStream) Recv() ([]byte, error) { return s.s.recv(s.ctx) }

// Close ends the stream. If the server has not, the handler is cancelled.
func (s *ClientStream) Close() {
	s.closed.Do(func() {
		s.stop()
		s.s.finish(s.ctx)
		if s.client.opts.OnCall != nil {
			s.client.opts.OnCall(s.s.stats(s.method, s.began, s.s.code()))
		}
		if s.target != nil {
			s.target.done(s.s.failure())
		}
	})
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

// open begins a call. In a unary one, room is for the answer. Without dial it
// makes no connection.
func (c *Client) open(ctx context.Context, method string, unary bool, room []byte, dial bool) (*stream, error) {
	// The server would take another name for a broken protocol.
	if method == "" || len(method) > maxMethod || !utf8.ValidString(method) {
		return nil, errorf(InvalidArgument, "a method name has 1 to %d bytes of UTF-8", maxMethod)
	}
	o := open{method: []byte(method), metadata: MetadataFrom(ctx)}
	if err := o.metadata.check(); err != nil {
		return nil, err
	}
	for {
		k, err := c.connection(ctx, dial)
		if err != nil {
			return nil, err
		}
		// A server that reads nothing must not be sent calls without end, though
		// each is given up in time. Other reasons not to open come from open.
		if ok, _ := k.out.wait(ctx, k.full); ok {
			k.out.hold()
		} else if ctx.Err() != nil {
			e := ctxError(ctx)
			e.Message, e.unprocessed = "the call waited for the server to read", true
			return nil, e
		}
		if ctx.Err() != nil {
			return nil, ctxError(ctx)
		}
		if deadline, ok := ctx.Deadline(); ok {
			o.timeout = uint64(max(time.Until(deadline).Microseconds(), 1))
		}
		s, err := k.open(o, unary, room)
		if err != nil {
			c.drop(k) // it broke just now: nothing was sent, so try again
			continue
		}
		return s, nil
	}
}
