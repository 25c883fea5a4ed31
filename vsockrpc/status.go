package vsockrpc

import (
	"context"
	"errors"
	"fmt"
)

// Code says how a call ended. The numbers and meanings are gRPC's. A Code is
// an error, so errors.Is(err, vsockrpc.Unavailable) works.
type Code uint32

// The codes.
const (
	OK                 Code = 0
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
)

var codeNames = [...]string{
	"ok", "canceled", "unknown", "invalid argument", "deadline exceeded", "not found", "already exists",
	"permission denied", "resource exhausted", "failed precondition", "aborted", "out of range",
	"unimplemented", "internal", "unavailable", "data loss", "unauthenticated",
}

func (c Code) Error() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Error is how a call failed. Handlers return one to choose what the client
// learns; clients get one for every failure, their own included.
type Error struct {
	Code Code
	// Message is for people, at most 1,024 bytes on the wire. From a
	// handler it reaches the client as it is: no secrets.
	Message string
	cause   error // of failures on this side
	// unprocessed: no handler has seen the call, and none will.
	unprocessed bool
}

func (e *Error) Error() string {
	if e.Message == "" {
		return "vsockrpc: " + e.Code.Error()
	}
	return "vsockrpc: " + e.Code.Error() + ": " + e.Message
}

// Unwrap returns the code and, for failures on this side, the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.Code}
	}
	return []error{e.Code, e.cause}
}

// CodeOf returns the code of a call's error: OK for nil, Unknown for errors
// that have none.
func CodeOf(err error) Code {
	if err == nil {
		return OK
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	var c Code
	if errors.As(err, &c) {
		return c
	}
	return Unknown
}

// Unprocessed reports whether a call failed in a way that makes certain that no
// handler has seen it: nothing of it was written, or the server refused it
// unseen. Repeating such a call is safe, whatever it does.
func Unprocessed(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.unprocessed
}

func errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// known is c, or Unknown for a number that is no code: the peer would take that
// for a broken protocol.
func (c Code) known() Code {
	if int(c) < len(codeNames) {
		return c
	}
	return Unknown
}

// ctxError is the error of a call whose context ended.
func ctxError(ctx context.Context) *Error {
	cause := ctx.Err()
	if errors.Is(cause, context.DeadlineExceeded) {
		return &Error{Code: DeadlineExceeded, cause: cause}
	}
	return &Error{Code: Canceled, cause: cause}
}

// errHandler is all that a client learns where a handler did not choose.
var errHandler = &Error{Code: Internal, Message: "the handler failed"}

// statusOf is what of a handler's error crosses the wire.
func statusOf(ctx context.Context, err error) (Code, string) {
	if err == nil {
		return OK, ""
	}
	var e *Error
	if errors.As(err, &e) && e.Code != OK {
		return e.Code.known(), e.Message
	}
	var c Code
	if errors.As(err, &c) && c != OK {
		return c.known(), ""
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return ctxError(ctx).Code, ""
	}
	return errHandler.Code, errHandler.Message
}
