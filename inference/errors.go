package inference

import (
	"errors"
	"fmt"
)

var (
	// ErrInvalidRequest means that the request can never succeed as it is.
	ErrInvalidRequest = errors.New("inference: invalid request")
	// ErrPromptTooLong means that the prompt leaves no space for an answer;
	// a shorter one can succeed.
	ErrPromptTooLong = errors.New("inference: prompt too long")
	// ErrOverloaded means that the queue is full; the same request can
	// succeed later.
	ErrOverloaded = errors.New("inference: overloaded")
	// ErrClosed means that the model has been closed.
	ErrClosed = errors.New("inference: model closed")
)

// RequestError says what is wrong with a request, never quoting its text.
type RequestError struct {
	// Field is the field of Request.
	Field string
	// Reason says what is wrong with it.
	Reason string
	// Err is ErrInvalidRequest or ErrPromptTooLong.
	Err error
}

// Error returns the whole in one line.
func (e *RequestError) Error() string {
	return fmt.Sprintf("%v: %s: %s", e.Err, e.Field, e.Reason)
}

// Unwrap returns e.Err.
func (e *RequestError) Unwrap() error { return e.Err }
