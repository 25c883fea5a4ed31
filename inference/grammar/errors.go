package grammar

import (
	"errors"
	"fmt"
)

// ErrInvalid means that a grammar or a schema cannot be used as it is.
var ErrInvalid = errors.New("grammar: invalid")

// SyntaxError says what is wrong with a grammar. It holds no text of it.
type SyntaxError struct {
	// Line and Column, from 1 and in bytes, say where. Where the fault is a
	// rule's as a whole, they are the rule's; both are 0 if it is the
	// grammar's.
	Line, Column int
	// Reason says what is wrong.
	Reason string
}

// Error returns the whole in one line.
func (e *SyntaxError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%v: %s", ErrInvalid, e.Reason)
	}
	return fmt.Sprintf("%v: line %d, column %d: %s", ErrInvalid, e.Line, e.Column, e.Reason)
}

// Unwrap returns ErrInvalid.
func (e *SyntaxError) Unwrap() error { return ErrInvalid }

// SchemaError says what is wrong with a JSON Schema. It holds no text of the
// schema but the names of JSON Schema's own keywords.
type SchemaError struct {
	// Path leads to the schema at fault through keywords and, in place of
	// property names, their positions: "/properties/2/items". It is empty for
	// the outermost schema.
	Path string
	// Keyword is the keyword at fault, or "" if it is none of JSON Schema's.
	Keyword string
	// Reason says what is wrong.
	Reason string
}

// Error returns the whole in one line.
func (e *SchemaError) Error() string {
	at := e.Path
	if e.Keyword != "" {
		at += "/" + e.Keyword
	}
	if at == "" {
		return fmt.Sprintf("%v: schema: %s", ErrInvalid, e.Reason)
	}
	return fmt.Sprintf("%v: schema: %s: %s", ErrInvalid, at, e.Reason)
}

// Unwrap returns ErrInvalid.
func (e *SchemaError) Unwrap() error { return ErrInvalid }
