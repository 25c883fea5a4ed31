package vsockrpc

import (
	"context"
	"errors"
	"io"
	"iter"
)

// HandleServerStream registers a handler that answers one typed request with a
// sequence of messages. An error in the sequence ends the call; the sequence is
// stopped when the call ends.
func HandleServerStream[Req, Resp any](s *Server, method string, fn func(context.Context, Req) iter.Seq2[Resp, error]) {
	s.HandleStream(method, func(ctx context.Context, st *ServerStream) error {
		req, err := recvOne[Req](st.Recv, InvalidArgument)
		if err != nil {
			return err
		}
		return sendAll(st.Send, fn(ctx, req))
	})
}

// maxBegins is how often CallServerStream begins a stream.
const maxBegins = 4

// CallServerStream sends one typed request and yields the answers. An error is
// the last thing yielded. Leaving the loop early cancels the handler. A stream
// that certainly reached no handler (see Unprocessed) is begun again, at most 4
// times in all: at another target, where the Caller is a Pool.
func CallServerStream[Req, Resp any](ctx context.Context, c Caller, method string, req Req) iter.Seq2[Resp, error] {
	return func(yield func(Resp, error) bool) {
		var none Resp
		b, err := encode(req)
		if err != nil {
			yield(none, err)
			return
		}
		for begun := 1; ; begun++ {
			st, err := c.Stream(ctx, method)
			if err != nil {
				yield(none, err)
				return
			}
			if !serverStream(ctx, st, b, begun < maxBegins, yield) {
				return
			}
		}
	}
}

// serverStream sends the request b and yields the answers. It returns true
// instead if the stream may be begun again and should be.
func serverStream[Resp any](ctx context.Context, st *ClientStream, b []byte, may bool, yield func(Resp, error) bool) (again bool) {
	defer st.Close()
	// Where the call or the connection has ended, receiving tells how.
	if err := st.SendLast(b); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, Unavailable) {
		if may && Unprocessed(err) && ctx.Err() == nil {
			return true
		}
		var none Resp
		yield(none, err)
		return false
	}
	for resp, err := range recvAll[Resp](st.Recv, Internal) {
		if may && err != nil && Unprocessed(err) && ctx.Err() == nil {
			return true // nothing was yielded yet
		}
		if !yield(resp, err) {
			return false
		}
	}
	return false
}

// HandleClientStream registers a handler that answers a sequence of typed
// messages with one. An error is the last thing that the sequence yields; it
// can be gone through once. The handler may return before its end.
func HandleClientStream[Req, Resp any](s *Server, method string, fn func(context.Context, iter.Seq2[Req, error]) (Resp, error)) {
	s.HandleStream(method, func(ctx context.Context, st *ServerStream) error {
		resp, err := fn(ctx, recvAll[Req](st.Recv, InvalidArgument))
		if err != nil {
			return err
		}
		b, err := encode(resp)
		if err != nil {
			return err
		}
		return st.Send(b)
	})
}

// CallClientStream sends a sequence of typed messages and returns the answer.
// It does not go through the rest of the sequence when the server has ended the
// call before.
func CallClientStream[Req, Resp any](ctx context.Context, c Caller, method string, reqs iter.Seq[Req]) (Resp, error) {
	var none Resp
	st, err := c.Stream(ctx, method)
	if err != nil {
		return none, err
	}
	defer st.Close()
	if err := sendRequests(st, reqs); err != nil {
		return none, err
	}
	resp, err := recvOne[Resp](st.Recv, Internal)
	if err != nil {
		return none, err
	}
	if _, err := st.Recv(); err != io.EOF {
		if err == nil {
			err = errorf(Internal, "the server answered more than one message")
		}
		return none, err
	}
	return resp, nil
}

// HandleBidiStream registers a handler that turns a sequence of typed messages
// into another. Both go on at the same time. Each is like those of
// HandleClientStream and HandleServerStream.
func HandleBidiStream[Req, Resp any](s *Server, method string, fn func(context.Context, iter.Seq2[Req, error]) iter.Seq2[Resp, error]) {
	s.HandleStream(method, func(ctx context.Context, st *ServerStream) error {
		return sendAll(st.Send, fn(ctx, recvAll[Req](st.Recv, InvalidArgument)))
	})
}

// CallBidiStream sends a sequence of typed messages while it yields the
// answers. The sequence is gone through on another goroutine, which has ended
// when the loop has: a sequence that blocks must end with ctx.
func CallBidiStream[Req, Resp any](ctx context.Context, c Caller, method string, reqs iter.Seq[Req]) iter.Seq2[Resp, error] {
	return func(yield func(Resp, error) bool) {
		var none Resp
		st, err := c.Stream(ctx, method)
		if err != nil {
			yield(none, err)
			return
		}
		sent := make(chan error, 1)
		go func() {
			err := sendRequests(st, reqs)
			sent <- err
			if err != nil {
				st.Close() // the handler must not take it for all
			}
		}()
		ended := false
		defer func() {
			st.Close()
			if !ended {
				<-sent
			}
		}()
		for resp, err := range recvAll[Resp](st.Recv, Internal) {
			if err != nil && errors.Is(err, Canceled) && ctx.Err() == nil {
				// Perhaps the request that could not be sent is why, and is
				// known by now. Otherwise the server's handler said so.
				select {
				case e := <-sent:
					if e != nil {
						err = e
					}
					ended = true
				default:
				}
			}
			if !yield(resp, err) {
				return
			}
		}
	}
}

// sendRequests sends a client's messages and the end. That the server has ended
// the call is no error here: receiving tells how.
func sendRequests[Req any](st *ClientStream, reqs iter.Seq[Req]) error {
	for req := range reqs {
		b, err := encode(req)
		if err != nil {
			return err
		}
		if err := st.Send(b); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
	st.CloseSend()
	return nil
}

// sendAll sends a sequence up to its end or an error.
func sendAll[T any](send func([]byte) error, seq iter.Seq2[T, error]) error {
	for v, err := range seq {
		if err != nil {
			return err
		}
		b, err := encode(v)
		if err != nil {
			return err
		}
		if err := send(b); err != nil {
			return err
		}
	}
	return nil
}

// recvOne receives one message. Messages that do not decode are errors of code.
func recvOne[T any](recv func() ([]byte, error), code Code) (v T, err error) {
	b, err := recv()
	if err == io.EOF {
		return v, errorf(code, "a message is missing")
	}
	if err != nil {
		return v, err
	}
	err = decode(b, &v, code)
	clear(b)
	return v, err
}

// recvAll receives messages until the end or an error.
func recvAll[T any](recv func() ([]byte, error), code Code) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			b, err := recv()
			if err == io.EOF {
				return
			}
			var v T
			if err == nil {
				err = decode(b, &v, code)
				clear(b)
			}
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}
