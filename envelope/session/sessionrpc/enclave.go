package sessionrpc

import (
	"context"
	"errors"
	"io"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Handler answers one opened request. The payload is erased when it returns.
//
// Its error ends the answer: a *session.RemoteError reaches the client as it
// is, sealed, and any other as the code "internal", since its text might repeat
// a secret, or "deadline_exceeded" if it wraps context.DeadlineExceeded. A panic
// is "internal" too, for this request only. With no error, an answer that has
// not ended is ended as whole.
type Handler func(ctx context.Context, req *session.Request, resp *session.Response) error

const (
	// codeInternal is what a client learns of an error that is not meant for it.
	codeInternal = "internal"
	// codeDeadline is what it learns when the time for the call was over in the
	// enclave before it was over at the client.
	codeDeadline = "deadline_exceeded"
)

// Register serves sessions on s, under MethodAttest and MethodAsk. The server
// should take messages of session.MaxRequest bytes. It panics where one of its
// arguments is nil, which is a mistake in the program.
func Register(s *vsockrpc.Server, e *session.Enclave, h Handler) {
	if s == nil || e == nil || h == nil {
		panic("sessionrpc: Register needs a server, an enclave and a handler")
	}
	s.Handle(MethodAttest, func(ctx context.Context, request []byte) ([]byte, error) {
		answer, err := e.Attest(ctx, request)
		if err != nil {
			return nil, refuse(err)
		}
		return answer, nil
	})
	s.HandleStream(MethodAsk, func(ctx context.Context, stream *vsockrpc.ServerStream) error {
		return serve(ctx, e, h, stream)
	})
}

func serve(ctx context.Context, e *session.Enclave, h Handler, stream *vsockrpc.ServerStream) error {
	message, err := stream.Recv()
	if err != nil {
		if err == io.EOF {
			return refuse(session.ErrMalformed)
		}
		return err
	}
	req, err := e.Open(message)
	if err != nil {
		return refuse(err)
	}
	resp, err := req.Respond(stream.Send)
	if err != nil {
		return refuse(err)
	}
	finished := false
	defer func() {
		if !finished { // a panic, which the server recovers from
			resp.Fail(&session.RemoteError{Code: codeInternal})
		}
	}()
	err = h.answer(ctx, req, resp)
	finished = true
	if resp.Ended() {
		return nil
	}
	if err == nil {
		return resp.End()
	}
	remote, ok := errors.AsType[*session.RemoteError](err)
	if !ok {
		remote = &session.RemoteError{Code: codeInternal}
		if errors.Is(err, context.DeadlineExceeded) {
			remote.Code = codeDeadline
		}
	}
	return resp.Fail(remote)
}

// answer calls the handler, and erases the payload before anything else is
// said.
func (h Handler) answer(ctx context.Context, req *session.Request, resp *session.Response) error {
	defer clear(req.Payload)
	return h(ctx, req, resp)
}
