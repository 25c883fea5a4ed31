package vsockrpc

import (
	"context"

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

// Caller makes calls: a Client or a Pool.
type Caller interface {
	AppendCall(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error)
	Stream(ctx context.Context, method string) (*ClientStream, error)
}

// Handle registers a unary handler of typed messages. Requests that do not
// decode fail with InvalidArgument. The encoded request is erased when the
// handler returns.
func Handle[Req, Resp any](s *Server, method string, fn func(context.Context, Req) (Resp, error)) {
	s.HandleLent(method, func(ctx context.Context, b []byte) ([]byte, error) {
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

// Call makes a unary call with typed messages. The encoded answer is erased.
func Call[Req, Resp any](ctx context.Context, c Caller, method string, req Req) (Resp, error) {
	var resp, none Resp
	b, err := encode(req)
	if err != nil {
		return none, err
	}
	room := borrow(minLent)
	b, err = c.AppendCall(ctx, room, method, b)
	if err == nil {
		err = decode(b, &resp, Internal)
	}
	if cap(b) != cap(room) {
		giveBack(b) // the answer was larger than room
	}
	giveBack(room)
	if err != nil {
		return none, err
	}
	return resp, nil
}
