package gguf_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/gguf"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// TestGreedyText runs converted files with libllama and compares the answers
// with those of transformers: weights in f16, and these as f32 and as q8_0.
func TestGreedyText(t *testing.T) {
	type reference struct {
		IDs    []inference.Token `json:"greedy_ids"`
		Text   string            `json:"greedy_text"`
		MinGap float64           `json:"min_gap"`
	}
	var oracle struct {
		Limit   int
		Prompts []struct {
			Name, Prompt string
			IDs          []inference.Token `json:"input_ids"`
			F16          reference
		}
	}
	if err := json.Unmarshal(readFile(t, "../llama/testdata/oracle-dev.json"), &oracle); err != nil {
		t.Fatal(err)
	}
	folder := larkfieldFolder(t)
	for _, typ := range []gguf.TensorType{gguf.F32, gguf.F16, gguf.Q8_0} {
		t.Run(typ.String(), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "model.gguf")
			if err := os.WriteFile(path, convert(t, folder, larkfield(typ)), 0o600); err != nil {
				t.Fatal(err)
			}
			m, err := llama.Open(t.Context(), llama.Options{ModelPath: path, Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			same := 0
			for _, p := range oracle.Prompts {
				ids, err := m.Tokenize(t.Context(), p.Prompt)
				if err != nil || !slices.Equal(ids, p.IDs) && p.Prompt != "" {
					t.Errorf("%s: tokens %v, want %v; %v", p.Name, ids, p.IDs, err)
				}
				var text bytes.Buffer
				var tokens []inference.Token
				for c, err := range m.Generate(t.Context(), inference.Request{Prompt: p.Prompt, MaxTokens: oracle.Limit}) {
					if err != nil {
						t.Fatalf("%s: %v", p.Name, err)
					}
					text.WriteString(c.Text)
					tokens = append(tokens, c.Tokens...)
				}
				if slices.Equal(tokens, p.F16.IDs) && text.String() == p.F16.Text {
					same++
				} else if p.F16.MinGap >= 0.2 { // under that, the reference was unsure
					t.Errorf("%s:\n got %q\nwant %q", p.Name, &text, p.F16.Text)
				}
			}
			t.Logf("%d of %d answers are equal", same, len(oracle.Prompts))
			if same < 20-2 || len(oracle.Prompts) < 20 {
				t.Error("too few are equal")
			}
		})
	}
}
