package sessionrpc

import (
	"context"
	"io"
	"iter"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// NewTransport returns a transport that calls an enclave over vsockrpc. With a
// Pool of several enclaves it does not work, since each has a key of its own:
// that is what a Relay is for. It panics where c is nil,
// which is a mistake in the program.
func NewTransport(c *vsockrpc.Client) session.Transport {
	if c == nil {
		panic("sessionrpc: NewTransport needs a client")
	}
	return rpcTransport{c}
}

type rpcTransport struct{ c *vsockrpc.Client }

func (t rpcTransport) Attest(ctx context.Context, request []byte) ([]byte, error) {
	answer, err := t.c.Call(ctx, MethodAttest, request)
	return answer, withRefusal(err)
}

func (t rpcTransport) Ask(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		stream, err := t.c.Stream(ctx, MethodAsk)
		if err != nil {
			yield(nil, withRefusal(err))
			return
		}
		defer stream.Close()
		// After the server has ended the stream, Recv tells how. Only io.EOF
		// itself means that: the error of a broken connection wraps it too.
		if err := stream.SendLast(request); err != nil && err != io.EOF {
			yield(nil, withRefusal(err))
			return
		}
		for {
			segment, err := stream.Recv()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, withRefusal(err))
				return
			}
			if !yield(segment, nil) {
				return
			}
		}
	}
}
