package grammar_test

import (
	"errors"
	"fmt"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

// Where a user's grammar is wrong, the error says so without repeating any of
// it. It may be well-formed and still be refused, if an answer could be
// understood in more than one way.
func ExampleSyntaxError() {
	for _, gbnf := range []string{
		"root ::= (\"yes\" | \"no\"",
		"root ::= \"a\" root \"a\" | \"a\"",
	} {
		_, err := grammar.Parse(gbnf)
		var bad *grammar.SyntaxError
		if errors.As(err, &bad) {
			fmt.Printf("line %d, column %d: %s\n", bad.Line, bad.Column, bad.Reason)
		}
	}
	// Output:
	// line 1, column 23: ) is missing
	// line 1, column 1: ambiguous: it recurses, and the next character alone does not say how to go on
}

// A keyword that is not known is an error: to leave it out would let answers
// through that the schema forbids.
func ExampleFromJSONSchema_unknownKeyword() {
	_, err := grammar.FromJSONSchema([]byte(`{
		"type": "object",
		"properties": {"tags": {"type": "array", "items": {"type": "string"}, "uniqueItems": true}}
	}`))
	fmt.Println(errors.Is(err, grammar.ErrInvalid))
	var bad *grammar.SchemaError
	if errors.As(err, &bad) {
		fmt.Println(bad.Path, bad.Keyword)
	}
	// Output:
	// true
	// /properties/0 uniqueItems
}
