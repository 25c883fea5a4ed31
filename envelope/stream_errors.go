package envelope

import (
	"errors"
	"fmt"
	"io/fs"
)

var (
	// ErrStream: a sealed stream is not what was written under its key. It is
	// no sealed stream at all, was changed, cut short or put in another
	// order. Nothing after that place is released. The error is a
	// *StreamError.
	ErrStream = errors.New("envelope: not an intact sealed stream")
	// ErrContextMismatch: a stream is sealed under another encryption context
	// than the one that the caller expects.
	ErrContextMismatch = errors.New("envelope: the stream is sealed under another encryption context")
)

// StreamError says where a sealed stream is not intact. It unwraps to
// ErrStream.
type StreamError struct {
	// Segment is the number of the segment, from 0 on, or -1 for what
	// precedes the segments.
	Segment int64
	// Reason says what is wrong, without content of the stream.
	Reason string
}

func (e *StreamError) Error() string {
	if e.Segment < 0 {
		return "envelope: sealed stream: header: " + e.Reason
	}
	return fmt.Sprintf("envelope: sealed stream: segment %d: %s", e.Segment, e.Reason)
}

// Unwrap returns ErrStream.
func (e *StreamError) Unwrap() error { return ErrStream }

func headerError(reason string) error { return &StreamError{Segment: -1, Reason: reason} }

// errStreamClosed is what a closed or abandoned stream answers.
var errStreamClosed = fmt.Errorf("envelope: sealed stream: %w", fs.ErrClosed)

// errNoReader is for a program that gives no reader.
var errNoReader = errors.New("envelope: sealed stream: nothing to read from")

// errStreamFull is what a Writer answers when the segment counter is used up.
var errStreamFull = errors.New("envelope: sealed stream: over 4,294,967,296 segments")
