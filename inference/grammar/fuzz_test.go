package grammar_test

import (
	"encoding/json"
	"errors"
	"math/rand"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference/grammar"
)

// checkFuzzed checks what must hold for whatever is accepted.
func checkFuzzed(t *testing.T, g *grammar.Grammar, err error, start time.Time) bool {
	t.Helper()
	if took := time.Since(start); took > time.Minute {
		t.Errorf("took %v", took)
	}
	if err != nil {
		if g != nil || !errors.Is(err, grammar.ErrInvalid) {
			t.Errorf("%v, %v", g, err)
		}
		return false
	}
	states, choices := g.Size()
	if states > grammar.MaxStates || choices > grammar.MaxChoices {
		t.Errorf("%d states, %d choices", states, choices)
	}
	checkCanonical(t, g)
	return true
}

func FuzzParse(f *testing.F) {
	for _, c := range gbnfCases {
		f.Add(c.gbnf, "a")
	}
	files, err := filepath.Glob("testdata/*.gbnf")
	if err != nil || len(files) == 0 {
		f.Fatalf("no grammars in testdata: %v", err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text), "{}")
	}
	f.Fuzz(func(t *testing.T, gbnf, text string) {
		start := time.Now()
		g, err := grammar.Parse(gbnf)
		if !checkFuzzed(t, g, err, start) {
			return
		}
		g.Match(text)
		if s := g.Sample(rand.New(rand.NewSource(1)), 100); !g.Match(s) {
			t.Errorf("%q is let through but does not match", s)
		}
	})
}

func FuzzFromJSONSchema(f *testing.F) {
	for _, c := range schemaCases(f) {
		f.Add([]byte(c.Schema))
	}
	f.Fuzz(func(t *testing.T, schema []byte) {
		start := time.Now()
		g, err := grammar.FromJSONSchema(schema)
		if !checkFuzzed(t, g, err, start) {
			return
		}
		s := g.Sample(rand.New(rand.NewSource(1)), 100)
		if !g.Match(s) || !json.Valid([]byte(s)) {
			t.Errorf("%q is let through but does not match, or is not JSON", s)
		}
	})
}
