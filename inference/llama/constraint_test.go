package llama_test

import (
	"encoding/json"
	"errors"
	"math"
	"regexp"
	"slices"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// TestGrammar constrains answers, greedy and drawn, beside free ones.
func TestGrammar(t *testing.T) {
	m := open(t, llama.Options{})
	for _, tt := range []struct{ name, gbnf, want string }{
		{"choice", `root ::= " yes" | " no" | " maybe"`, `^ (yes|no|maybe)$`},
		{"repetition", `root ::= " " [0-9]{3} "-" [0-9]{4}`, `^ \d{3}-\d{4}$`},
		{"rules", "root ::= item (\", \" item){1,3} \".\"\nitem ::= [a-z]{1,6} # a word", `^[a-z]{1,6}(, [a-z]{1,6}){1,3}\.$`},
		{"not ASCII", `root ::= "§" [à-ü]{2} "日本"`, `^§[à-ü]{2}日本$`},
		{"free", `root ::= [^<]*`, `^[^<]*$`},
	} {
		want := regexp.MustCompile(tt.want)
		for seed := range uint32(6) {
			req := inference.Request{Prompt: deductiblePrompt, Grammar: tt.gbnf, MaxTokens: 120, Seed: seed, Temperature: float32(seed) / 3, TopK: 10 * int(seed%2)}
			if seed == 5 {
				req.Temperature, req.RepeatPenalty = 0, 1.3
			}
			got, err := generate(t, m, req)
			if err != nil {
				t.Errorf("%s, seed %d: %v", tt.name, seed, err)
			}
			if tt.name == "free" && seed == 0 && got.text != deductibleAnswer {
				t.Errorf("a grammar that allows the answer changes it to %q", got.text)
			}
			if got.reason == inference.FinishStop && !want.MatchString(got.text) || got.reason == inference.FinishLength && tt.name != "free" {
				t.Errorf("%s, seed %d: %q (%s)", tt.name, seed, got.text, got.reason)
			}
		}
	}
	if got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt}); err != nil || got.text != deductibleAnswer {
		t.Errorf("without a grammar: %q %v", got.text, err)
	}
}

func TestJSONSchema(t *testing.T) {
	m := open(t, llama.Options{})
	schema := `{"type":"object","required":["answer","sure"],"additionalProperties":false,"properties":{
		"answer":{"type":"string","maxLength":20},"sure":{"type":"boolean"},
		"amounts":{"type":"array","items":{"type":"integer","minimum":0,"maximum":5000},"maxItems":3}}}`
	for seed := range uint32(8) {
		got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, JSONSchema: schema, Seed: seed, Temperature: float32(seed) / 4, MaxTokens: 300})
		if err != nil {
			t.Fatal(err)
		}
		var v struct {
			Answer  *string
			Sure    *bool
			Amounts []int
		}
		if err := json.Unmarshal([]byte(got.text), &v); err != nil || v.Answer == nil || v.Sure == nil || len([]rune(*v.Answer)) > 20 ||
			len(v.Amounts) > 3 || slices.ContainsFunc(v.Amounts, func(n int) bool { return n < 0 || n > 5000 }) {
			t.Errorf("seed %d: %q (%s) %v", seed, got.text, got.reason, err)
		}
	}
}

func TestGrammarErrors(t *testing.T) {
	m := open(t, llama.Options{})
	for _, tt := range []struct {
		req inference.Request
		as  any
	}{
		{inference.Request{Grammar: `root ::= root "a"`}, new(*grammar.SyntaxError)},
		{inference.Request{Grammar: `root ::= (("a"`}, new(*grammar.SyntaxError)},
		{inference.Request{Grammar: `main ::= "a"`}, new(*grammar.SyntaxError)},
		{inference.Request{JSONSchema: `{"type":"frog"}`}, new(*grammar.SchemaError)},
		{inference.Request{JSONSchema: `{`}, new(*grammar.SchemaError)},
		{inference.Request{Grammar: `root ::= "a"`, JSONSchema: `{}`}, new(*inference.RequestError)},
	} {
		tt.req.Prompt = deductiblePrompt
		_, err := generate(t, m, tt.req)
		if !errors.Is(err, inference.ErrInvalidRequest) || !errors.As(err, tt.as) {
			t.Errorf("%q %q: %v", tt.req.Grammar, tt.req.JSONSchema, err)
		}
	}
}

// TestGenerateLogProbs compares log-probabilities with the reference's logits.
func TestGenerateLogProbs(t *testing.T) {
	m := open(t, llama.Options{ModelPath: f16Model})
	all, tokens := []inference.TokenLogProbs(nil), 0
	for c, err := range m.Generate(t.Context(), inference.Request{Prompt: deductiblePrompt, LogProbs: true, TopLogProbs: 3}) {
		if err != nil {
			t.Fatal(err)
		}
		if len(c.LogProbs) != len(c.Tokens) {
			t.Errorf("%d log-probabilities for %d tokens", len(c.LogProbs), len(c.Tokens))
		}
		all, tokens = append(all, c.LogProbs...), tokens+len(c.Tokens)
	}
	text := ""
	for i, p := range all {
		text += string(p.Bytes)
		// Greedy: the chosen one is the likeliest.
		if len(p.Top) != 3 || p.Top[0].Token != p.Token || p.Top[0].LogProb != p.LogProb.LogProb || p.Top[1].LogProb > p.Top[0].LogProb || p.Top[2].LogProb > p.Top[1].LogProb {
			t.Errorf("token %d: %+v", i, p)
		}
		sum := 0.0
		for _, k := range p.Top {
			sum += math.Exp(float64(k.LogProb))
		}
		if sum > 1.0001 || p.LogProb.LogProb > 0 {
			t.Errorf("token %d: the three likeliest have a probability of %f", i, sum)
		}
	}
	if tokens == 0 || text != deductibleAnswer {
		t.Errorf("%d tokens, %q", tokens, text)
	}
	got := 0
	for c := range m.Generate(t.Context(), inference.Request{Prompt: deductiblePrompt}) {
		got += len(c.LogProbs)
	}
	if got != 0 {
		t.Errorf("%d log-probabilities that nobody asked for", got)
	}
}
