package bloom

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// TestBloom560mLoads makes a model with two layers of 24, loads it with
// libllama and has it say something. NITROSEAL_BLOOM_LAYERS has another number.
func TestBloom560mLoads(t *testing.T) {
	if testing.Short() || raceDetector {
		t.Skip("it makes and loads 280 million weights: not with -short, nor under the race detector")
	}
	layers := 2
	if s := os.Getenv("NITROSEAL_BLOOM_LAYERS"); s != "" {
		if _, err := fmt.Sscan(s, &layers); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(t.TempDir(), "m.gguf")
	began := time.Now()
	digest := write(t, path, Shape{Layers: layers, Seed: 1})
	if want := "5448430a8057c92c54a482aefc82905b994235c098dae805934d1f356b1bfcd5"; layers == 2 && digest != want {
		t.Errorf("SHA-256 %s: figures have been measured with another model", digest)
	}
	made := time.Since(began)
	m, err := llama.Open(t.Context(), llama.Options{ModelPath: path, MaxSequences: 1, ContextSize: 512})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	loaded := time.Since(began) - made
	if info := m.Info(); info.VocabularySize != vocabSize || info.Digest != digest || layers == 24 && info.Parameters != 559_214_592 {
		t.Errorf("%+v", info)
	}

	// A word is a token; other text takes a token for each syllable or byte.
	for text, want := range map[string]int{
		" bakemi wola ze": 3, Word(0) + Word(12345) + Word(Words-1): 3, strings.Repeat(" fupopi", 128): 128, " the end.": 8, "é": 2, " bakemimi": 2,
	} {
		tokens, err := m.Tokenize(t.Context(), text)
		if err != nil || len(tokens) != want {
			t.Errorf("%q: tokens %v, want %d, %v", text, tokens, want, err)
		}
	}

	// Only words come, not always the same, and no end.
	text, tokens, different := "", 0, map[inference.Token]bool{}
	for c, err := range m.Generate(t.Context(), inference.Request{Prompt: " bakemi wola ze", MaxTokens: 64}) {
		if err != nil {
			t.Fatal(err)
		}
		text += c.Text
		tokens += len(c.Tokens)
		for _, k := range c.Tokens {
			different[k] = true
		}
	}
	v := newVocabulary()
	for k := range different {
		if !v.isWord(int(k)) {
			t.Errorf("token %d, %q", k, v.tokens[k])
		}
	}
	if tokens != 64 || strings.Count(text, " ") != 64 || len(different) < 8 {
		t.Errorf("%d tokens, %d different: %q", tokens, len(different), text)
	}
	t.Logf("%d layers: made in %v, loaded in %v, %d different tokens of %d:%s", layers, made.Round(time.Millisecond), loaded.Round(time.Millisecond), len(different), tokens, text)
}

func write(t *testing.T, name string, s Shape) (digest string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	if err := errors.Join(s.Generate(w), w.Flush(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

// TestSame wants the same bytes for the same seed, and others for another.
func TestSame(t *testing.T) {
	hash := func(seed uint64) string {
		// The beginning is enough: all tensors are made the same way.
		h := sha256.New()
		err := (Shape{Layers: 1, Seed: seed}).Generate(&limited{h, 64 << 20})
		if !errors.Is(err, errEnough) {
			t.Fatal(err)
		}
		return fmt.Sprintf("%x", h.Sum(nil))
	}
	first := hash(1)
	if again := hash(1); again != first {
		t.Error("two runs differ")
	}
	if hash(2) == first {
		t.Error("two seeds give the same")
	}
}

var errEnough = errors.New("enough")

type limited struct {
	io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left < len(p) {
		l.Writer.Write(p[:l.left])
		return 0, errEnough
	}
	l.left -= len(p)
	return l.Writer.Write(p)
}

func TestVocabulary(t *testing.T) {
	v := newVocabulary()
	seen := map[string]bool{}
	for i, token := range v.tokens {
		if seen[token] {
			t.Fatalf("token %d, %q, is there twice", i, token)
		}
		seen[token] = true
	}
	if len(v.tokens) != vocabSize || len(v.types) != vocabSize || v.tokens[v.words] != "Ġba" || v.isWord(tokenSize) || v.isWord(2) {
		t.Errorf("%d tokens, %q", len(v.tokens), v.tokens[v.words])
	}
	for _, m := range v.merges {
		left, right, _ := strings.Cut(m, " ")
		if !seen[left] || !seen[right] || !seen[left+right] {
			t.Fatalf("merge %q", m)
		}
	}
}

// TestWord wants each word to be a token that the model may say.
func TestWord(t *testing.T) {
	v := newVocabulary()
	ids := map[string]int{}
	for i, token := range v.tokens {
		ids[token] = i
	}
	seen := map[string]bool{}
	for n := range Words {
		word := Word(n)
		if id, ok := ids[space+word[1:]]; !ok || !v.isWord(id) || seen[word] {
			t.Fatalf("word %d, %q, token %d", n, word, id)
		}
		seen[word] = true
	}
}

// TestHalf compares with numbers that are known.
func TestHalf(t *testing.T) {
	for f, want := range map[float64]uint16{1: 0x3c00, 0.5: 0x3800, 2: 0x4000, 1.5: 0x3e00, 0x1p-14: 0x0400, 65504: 0x7bff} {
		if got := half(f); got != want {
			t.Errorf("%g: %#04x, want %#04x", f, got, want)
		}
	}
}

// TestFirstBlock checks the blocks that decide which tokens can win.
func TestFirstBlock(t *testing.T) {
	v := newVocabulary()
	fill := embedding(v, 0.08)
	for row, want := range map[int]byte{0: 0x81, 2: 0x81, v.words - 1: 0x81, v.words: 0, tokenSize - 1: 0, tokenSize: 0x81} {
		b := make([]byte, 2*blockBytes)
		fill(row, b, rand.NewChaCha8([32]byte{}))
		if b[2] != want || b[blockBytes-1] != want || b[blockBytes+1] == 0 {
			t.Errorf("%q: %x", v.tokens[row], b)
		}
	}
}
