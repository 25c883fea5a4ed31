package grammar_test

import (
	"context"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/grammar"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-grammar.md.
func TestBadInput(t *testing.T) {
	invalid := badinput.Is("grammar.ErrInvalid", grammar.ErrInvalid)
	syntax := badinput.Both(badinput.As[*grammar.SyntaxError](), invalid)
	schema := badinput.Both(badinput.As[*grammar.SchemaError](), invalid)
	var cases []badinput.Case
	for _, c := range []struct{ input, text string }{
		{"nothing", ""},
		{"no rule named root", `answer ::= "x"`},
		{"text", badinput.Canary + "\n\x00"},
		{"not UTF-8", "root ::= \"\xff\""},
		{"a string that does not end", `root ::= "` + badinput.Canary},
		{"a rule that is not there", `root ::= canary`},
		{"a rule twice", "root ::= \"a\"\nroot ::= \"b\""},
		{"a rule that never ends", `root ::= "a" root`},
		{"groups nested 100,000 deep", "root ::= " + strings.Repeat("(", 100_000)},
		{"a repetition of 10^18", `root ::= "a"{1000000000000000000}`},
		{"repetitions within each other", `root ::= ((("a"{1000}){1000}){1000}){1000}`},
		{"a class that is backwards", `root ::= [z-a]`},
		{"1 MiB of rules", strings.Repeat("root ::= \"a\"\n", 1<<17)},
	} {
		cases = append(cases, badinput.On("Parse", c.input, syntax, func(context.Context) error {
			_, err := grammar.Parse(c.text)
			return err
		}))
	}
	for _, c := range []struct{ input, text string }{
		{"nothing", ""},
		{"no JSON", badinput.Canary},
		{"not UTF-8", "\"\xff\""},
		{"a number", "1"},
		{"false, of which nothing is an instance", "false"},
		{"two JSON values", "{} {}"},
		{"a name twice", `{"type": "string", "type": "number"}`},
		{"an unknown type", `{"type": "` + badinput.Canary + `"}`},
		{"a keyword of another type", `{"maxLength": "x"}`},
		{"a negative length", `{"type": "string", "minLength": -1}`},
		{"a length of 10^18", `{"type": "string", "minLength": 1000000000000000000}`},
		{"a reference to nowhere", `{"$ref": "#/$defs/canary"}`},
		{"a reference to a network", `{"$ref": "https://example.com/schema"}`},
		{"a reference to itself", `{"$ref": "#"}`},
		{"a pattern that is none", `{"type": "string", "pattern": "(` + badinput.Canary + `"}`},
		{"nested 100,000 deep", strings.Repeat(`{"not":`, 100_000)},
	} {
		cases = append(cases, badinput.On("FromJSONSchema", c.input, schema, func(context.Context) error {
			_, err := grammar.FromJSONSchema([]byte(c.text))
			return err
		}))
	}
	g, err := grammar.Parse(`root ::= "yes" | "no"`)
	if err != nil {
		t.Fatal(err)
	}
	badinput.Table{
		Package: "inference/grammar",
		Cases: append(cases,
			badinput.Value("Grammar.Match", "the zero Grammar", "it matches nothing", func() bool { return !new(grammar.Grammar).Match("") }),
			badinput.Value("Grammar.Match", "text that is not UTF-8", "no answer", func() bool { return !g.Match("yes\xff\x00") }),
			badinput.Value("Grammar.Start", "the zero Grammar", "a State that accepts nothing", func() bool { return !new(grammar.Grammar).Start().Done() }),
			badinput.Value("State.Next", "the zero State", "no answer goes on", func() bool { _, ok := grammar.State{}.Next("x"); return !ok }),
			badinput.Value("State.Next", "text that is not UTF-8", "no answer goes on", func() bool { _, ok := g.Start().Next("\xff"); return !ok }),
			badinput.Value("State.Done", "the zero State", "it is no answer", func() bool { return !grammar.State{}.Done() }),
		),
		NoInput: []string{"Grammar.String", "SchemaError.Error", "SchemaError.Unwrap", "SyntaxError.Error", "SyntaxError.Unwrap"},
	}.Run(t)
}
