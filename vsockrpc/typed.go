package vsockrpc

import (
	"context"
	"errors"
	"io"
	"iter"

	"github.com/fxamacker/cbor/v2"
)

// Typed messages are CBOR: deterministic when encoded; when decoded without
// duplicate keys, unknown fields, tags or indefinite lengths.
var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
		MaxNestedLevels:   16,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return v
}

func encode(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, errorf(Internal, "a message cannot be encoded")
	}
	return b, nil
}

func decode(b []byte, v any, code Code) error {
	if decMode.Unmarshal(b, v) != nil {
		return errorf(code, "a message is not of the expected type")
	}
	return nil
}

// Handle registers a unary handler of typed messages. Requests that do not
// decode fail with InvalidArgument.
func Handle[Req, Resp any](s *Server, method string, fn func(context.Context, Req) (Resp, error)) {
	s.Handle(method, func(ctx context.Context, b []byte) ([]byte, error) {
		var req Req
		if err := decode(b, &req, InvalidArgument); err != nil {
			return nil, err
		}
		resp, err := fn(ctx, req)
		if err != nil {
			return nil, err
		}
		return encode(resp)
	})
}

// Call makes a unary call with typed messages.
func Call[Req, Resp any](ctx context.Context, c *Client, method string, req Req) (Resp, error) {
	var resp, none Resp
	b, err := encode(req)
	if err != nil {
		return none, err
	}
	if b, err = c.Call(ctx, method, b); err != nil {
		return none, err
	}
	if err := decode(b, &resp, Internal); err != nil {
		return none, err
	}
	return resp, nil
}

// HandleServerStream registers a handler that answers one typed request with a
// sequence of messages. The sequence is stopped when the call ends.
func HandleServerStream[Req, Resp any](s *Server, method string, fn func(context.Context, Req) iter.Seq2[Resp, error]) {
	s.HandleStream(method, func(ctx context.Context, st *ServerStream) error {
		b, err := st.Recv()
		if err != nil {
			return err
		}
		var req Req
		if err := decode(b, &req, InvalidArgument); err != nil {
			return err
		}
		for resp, err := range fn(ctx, req) {
			if err != nil {
				return err
			}
			b, err := encode(resp)
			if err != nil {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
		return nil
	})
}

// CallServerStream sends one typed request and yields the answers. An error is
// the last thing yielded. Leaving the loop early cancels the handler.
func CallServerStream[Req, Resp any](ctx context.Context, c *Client, method string, req Req) iter.Seq2[Resp, error] {
	return func(yield func(Resp, error) bool) {
		var none Resp
		b, err := encode(req)
		if err != nil {
			yield(none, err)
			return
		}
		st, err := c.Stream(ctx, method)
		if err != nil {
			yield(none, err)
			return
		}
		defer st.Close()
		if err := st.s.send(ctx, b, true, true); err != nil && !errors.Is(err, io.EOF) {
			yield(none, err)
			return
		}
		for {
			b, err := st.Recv()
			if err == io.EOF {
				return
			}
			var resp Resp
			if err == nil {
				err = decode(b, &resp, Internal)
			}
			if err != nil {
				yield(none, err)
				return
			}
			if !yield(resp, nil) {
				return
			}
		}
	}
}
