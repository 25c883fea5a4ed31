package grammar_test

import (
	"fmt"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

// A schema for a weather report. The grammar lets through nothing else.
func Example() {
	g, err := grammar.FromJSONSchema([]byte(`{
		"type": "object",
		"properties": {
			"city":    {"type": "string", "maxLength": 40},
			"degrees": {"type": "integer", "minimum": -60, "maximum": 60},
			"sky":     {"enum": ["clear", "cloudy"]}
		},
		"required": ["city", "degrees"]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Match(`{"city": "Oslo", "degrees": -4, "sky": "clear"}`))
	fmt.Println(g.Match(`{"city": "Oslo", "degrees": 451}`))
	// Output:
	// true
	// false
}

// A grammar may be written in any way that has a meaning; what libllama is
// given has one way to go on after each character.
func ExampleParse() {
	g, err := grammar.Parse(`
		root ::= answer ("," answer)*
		answer ::= "yes" | "yes"+ | "no" # twice the same
	`)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(g)
	// Output:
	// root ::= r2 r3
	// r2 ::= "no" | "y" r4
	// r3 ::= "," root | ""
	// r4 ::= "es" r5
	// r5 ::= "y" r4 | ""
}

// An answer can be followed while it comes, in whatever pieces.
func ExampleState() {
	g, err := grammar.Parse(`root ::= [0-9]+ " km"`)
	if err != nil {
		fmt.Println(err)
		return
	}
	s := g.Start()
	for _, piece := range []string{"4", "2 ", "km"} {
		next, ok := s.Next(piece)
		if !ok {
			break
		}
		s = next
		fmt.Println(s.Done())
	}
	_, ok := s.Next("!")
	fmt.Println(ok)
	// Output:
	// false
	// false
	// true
	// false
}
