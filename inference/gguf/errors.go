package gguf

import (
	"errors"
	"fmt"
)

var (
	// ErrFormat means that something is damaged or contradicts itself: a GGUF
	// or safetensors file, a JSON file of the folder, or weights that are not
	// those that config.json describes.
	ErrFormat = errors.New("gguf: malformed")
	// ErrLimit means that something is larger than this package reads. The
	// limits are in the package documentation.
	ErrLimit = errors.New("gguf: over a limit")
	// ErrUnsupported means that the input may be fine but is of a kind that
	// this package does not know: another version of the format, another
	// architecture, tokenizer or type of weights.
	ErrUnsupported = errors.New("gguf: unsupported")
)

// Error says what was refused and where. A file that is missing is reported
// with fs.ErrNotExist instead.
type Error struct {
	// Where is a file of the folder, a metadata key, or a tensor; or empty
	// for the GGUF file as a whole. Names that come from the input are quoted.
	Where string
	// Reason says what is wrong there.
	Reason string
	// Err is ErrFormat, ErrLimit or ErrUnsupported.
	Err error
}

// Error returns the whole in one line.
func (e *Error) Error() string {
	if e.Where == "" {
		return fmt.Sprintf("%v: %s", e.Err, e.Reason)
	}
	return fmt.Sprintf("%v: %s: %s", e.Err, e.Where, e.Reason)
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

func malformed(where, format string, args ...any) error {
	return &Error{Where: where, Reason: fmt.Sprintf(format, args...), Err: ErrFormat}
}

func overLimit(where, format string, args ...any) error {
	return &Error{Where: where, Reason: fmt.Sprintf(format, args...), Err: ErrLimit}
}

func unsupported(where, format string, args ...any) error {
	return &Error{Where: where, Reason: fmt.Sprintf(format, args...), Err: ErrUnsupported}
}

// quote makes a name from the input fit for a message.
func quote(name string) string {
	const most = 80
	if len(name) > most {
		return fmt.Sprintf("%.*q…", most, name)
	}
	return fmt.Sprintf("%q", name)
}
