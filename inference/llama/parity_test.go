package llama_test

import (
	"encoding/json"
	"os"
	"slices"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

const (
	q8Model  = "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf"
	f16Model = "testdata/larkfield-bloom-f16.gguf"
)

// oracle is the reference's file.
type oracle struct {
	Limit   int            `json:"limit"`
	Prompts []oraclePrompt `json:"prompts"`
}

type oraclePrompt struct {
	Name   string            `json:"name"`
	Prompt string            `json:"prompt"`
	IDs    []inference.Token `json:"input_ids"`
	F32    reference         `json:"f32"`
	F16    reference         `json:"f16"`
}

type reference struct {
	IDs    []inference.Token `json:"greedy_ids"`
	Text   string            `json:"greedy_text"`
	Ended  bool              `json:"ended"`
	MinGap float64           `json:"min_gap"`
}

// unsure is the gap of logits under which two builds may differ.
const unsure = 0.2

func loadOracle(t testing.TB) oracle {
	t.Helper()
	data, err := os.ReadFile("testdata/oracle-dev.json")
	if err != nil {
		t.Fatal(err)
	}
	var o oracle
	if err := json.Unmarshal(data, &o); err != nil {
		t.Fatal(err)
	}
	if len(o.Prompts) < 20 {
		t.Fatalf("the oracle has %d prompts", len(o.Prompts))
	}
	return o
}

// open loads a model for a test. Without the library the test fails, and the
// message says how to get it.
func open(t testing.TB, opts llama.Options) *llama.Model {
	t.Helper()
	if opts.ModelPath == "" && opts.Model == nil {
		opts.ModelPath = q8Model
	}
	if opts.Threads == 0 {
		// libllama's threads wait for each other in busy loops: where other
		// tests want the same cores, several are many times slower than one.
		opts.Threads = 1
	}
	m, err := llama.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// answer is a whole generation.
type answer struct {
	text   string
	tokens []inference.Token
	reason inference.FinishReason
	usage  inference.Usage
}

func generate(t testing.TB, m inference.Model, req inference.Request) (answer, error) {
	var a answer
	for c, err := range m.Generate(t.Context(), req) {
		if err != nil {
			return answer{}, err
		}
		if a.reason != "" {
			t.Error("a chunk after the last one")
		}
		a.text += c.Text
		a.tokens = append(a.tokens, c.Tokens...)
		a.reason = c.FinishReason
		if (c.Usage != nil) != (c.FinishReason != "") {
			t.Error("usage and finish reason are not in the same chunk")
		}
		if c.Usage != nil {
			a.usage = *c.Usage
		}
	}
	if a.reason == "" {
		t.Error("no last chunk")
	}
	return a, nil
}

// check compares an answer with the reference.
func (p *oraclePrompt) check(t *testing.T, ref reference, got answer) {
	t.Helper()
	if slices.Equal(got.tokens, ref.IDs) && got.text == ref.Text {
		if want := max(len(p.IDs), 1); got.usage.PromptTokens != want || got.usage.GeneratedTokens != len(ref.IDs) {
			t.Errorf("%s: usage %+v for %d and %d tokens", p.Name, got.usage, want, len(ref.IDs))
		}
		if want := map[bool]inference.FinishReason{true: inference.FinishStop, false: inference.FinishLength}[ref.Ended]; got.reason != want {
			t.Errorf("%s: finished with %q, not %q", p.Name, got.reason, want)
		}
		return
	}
	if ref.MinGap < unsure {
		t.Logf("%s: differs, but the reference was unsure (gap %.3f)", p.Name, ref.MinGap)
		return
	}
	t.Errorf("%s:\n got %v %q\nwant %v %q", p.Name, got.tokens, got.text, ref.IDs, ref.Text)
}

func TestParity(t *testing.T) {
	o := loadOracle(t)
	for _, tt := range []struct {
		name, model string
		ref         func(*oraclePrompt) reference
	}{
		{"q8_0", q8Model, func(p *oraclePrompt) reference { return p.F32 }},
		{"f16", f16Model, func(p *oraclePrompt) reference { return p.F16 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := open(t, llama.Options{ModelPath: tt.model})
			for _, p := range o.Prompts {
				ids, err := m.Tokenize(t.Context(), p.Prompt)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(ids, p.IDs) && p.Prompt != "" {
					t.Errorf("%s: tokens %v, want %v", p.Name, ids, p.IDs)
				}
				got, err := generate(t, m, inference.Request{Prompt: p.Prompt, MaxTokens: o.Limit})
				if err != nil {
					t.Fatalf("%s: %v", p.Name, err)
				}
				p.check(t, tt.ref(&p), got)
			}
		})
	}
}

// TestBatchedParity asks everything at once: sequences side by side, prompts
// in chunks between the steps of others, answers as if alone.
func TestBatchedParity(t *testing.T) {
	o := loadOracle(t)
	for _, opts := range []llama.Options{
		{MaxSequences: 4},
		{MaxSequences: 8, BatchSize: 8}, // prompts take many steps
		{MaxSequences: 1},
	} {
		m := open(t, opts)
		var wg sync.WaitGroup
		for _, p := range o.Prompts {
			wg.Go(func() {
				got, err := generate(t, m, inference.Request{Prompt: p.Prompt, MaxTokens: o.Limit})
				if err != nil {
					t.Errorf("%s: %v", p.Name, err)
					return
				}
				p.check(t, p.F32, got)
			})
		}
		wg.Wait()
	}
}
