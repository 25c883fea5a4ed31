package llama

import (
	"encoding/json"
	"math"
	"os"
	"testing"
	"unsafe"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// TestLogits compares the ten largest logits after each prompt with the
// reference, which tells a wrong tensor from lucky greedy text.
func TestLogits(t *testing.T) {
	data, err := os.ReadFile("testdata/oracle-dev.json")
	if err != nil {
		t.Fatal(err)
	}
	type reference struct{ Top10 [][2]float64 }
	var oracle struct {
		Prompts []struct {
			Name     string
			Prompt   string
			F32, F16 reference
		}
	}
	if err := json.Unmarshal(data, &oracle); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path      string
		tolerance float64
	}{
		{"../../examples/chatbot/model/larkfield-bloom-q8_0.gguf", 0.2},
		{"testdata/larkfield-bloom-f16.gguf", 0.01},
	} {
		m, err := Open(t.Context(), Options{ModelPath: tt.path, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		// A context of its own: the model's belongs to its scheduler.
		c, err := m.lib.NewContext(m.model, native.ContextOptions{Tokens: 512, Batch: 512, Sequences: 1, Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		b := newBatch(m.lib, 512)
		worst := 0.0
		for _, p := range oracle.Prompts {
			job, err := m.newJob(t.Context(), inference.Request{Prompt: p.Prompt})
			if err != nil {
				t.Fatal(err)
			}
			var row int32
			for i, token := range job.prompt {
				row = b.add(int32(token), int32(i), 0, i == len(job.prompt)-1)
			}
			if rc := m.lib.Decode(c, b.raw); rc != 0 {
				t.Fatalf("decode: %d", rc)
			}
			logits := unsafe.Slice(m.lib.LogitsAt(c, row), m.info.VocabularySize)
			want := p.F32
			if tt.tolerance < 0.1 {
				want = p.F16
			}
			if len(want.Top10) != 10 {
				t.Fatalf("%s: %d logits in the oracle", p.Name, len(want.Top10))
			}
			for _, top := range want.Top10 {
				diff := math.Abs(float64(logits[int(top[0])]) - top[1])
				worst = max(worst, diff)
				if diff > tt.tolerance {
					t.Errorf("%s: token %v has %v, want %v", p.Name, top[0], logits[int(top[0])], top[1])
				}
			}
			b.clear()
			m.lib.MemoryClear(m.lib.ContextMemory(c), true)
		}
		t.Logf("%s: the largest difference is %.4f", tt.path, worst)
		b.free()
		m.lib.ContextFree(c)
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
}
