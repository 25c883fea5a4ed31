package llama

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// TestLikeliest compares our choice with llama.cpp's greedy sampler.
func TestLikeliest(t *testing.T) {
	m := openForTest(t)
	greedy := m.lib.NewChain()
	m.lib.SamplerAdd(greedy, m.lib.SamplerGreedy())
	defer m.lib.SamplerFree(greedy)
	chain := &sampler{lib: m.lib, chain: greedy}
	scratch := make([]native.Candidate, 3000)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		logits := make([]float32, 1+rng.IntN(len(scratch)))
		for i := range logits {
			logits[i] = float32(rng.IntN(20)) - 10 // with ties
		}
		got, err := likeliest(logits)
		want, err2 := chain.sample(logits, scratch)
		if got != want || err != nil || err2 != nil {
			t.Fatalf("%v: %d %v, libllama %d %v", logits, got, err, want, err2)
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, tt := range []struct {
		logits []float32
		want   int32
	}{
		{[]float32{nan, nan}, -1},
		{[]float32{inf, inf}, -1},
		{nil, -1},
		{[]float32{nan, -3, inf}, 1},
	} {
		got, err := likeliest(tt.logits)
		if got != tt.want || (got < 0) != errors.Is(err, errNoToken) {
			t.Errorf("%v: %d %v", tt.logits, got, err)
		}
	}
}

// TestGrammarDeadEnd gives a grammar that no token of those offered fits: an
// error, where libllama by itself would end the process.
func TestGrammarDeadEnd(t *testing.T) {
	m := openForTest(t)
	for _, req := range []inference.Request{{}, {Temperature: 1, TopK: 5, MinP: 0.1, Seed: 1}, {RepeatPenalty: 1.2}} {
		s := newSampler(m.lib, m.sched.words, &req, parse(t, `root ::= "\u00a7\u00a7"`))
		scratch := make([]native.Candidate, m.info.VocabularySize)
		logits := make([]float32, m.info.VocabularySize)
		token, err := s.sample(logits, scratch)
		if err == nil {
			s.accept(token)
			// Half of the answer is there. What comes now begins with the
			// rest; forbid it.
			for i := range logits {
				if s.fits(int32(i)) {
					logits[i] = float32(math.Inf(-1))
				}
			}
			token, err = s.sample(logits, scratch)
		}
		if !errors.Is(err, errNoToken) {
			t.Errorf("%+v: token %d, %v", req, token, err)
		}
		s.free()
	}
}

// TestGrammarDraw checks that drawing anew keeps the odds: among the tokens
// that fit they are those of the model.
func TestGrammarDraw(t *testing.T) {
	m := openForTest(t)
	a, b := single(t, m, "a"), single(t, m, "b")
	logits := make([]float32, m.info.VocabularySize)
	for i := range logits {
		logits[i] = -20
	}
	logits[a], logits[b] = 1, 0 // e : 1
	logits[single(t, m, "c")] = 2
	scratch := make([]native.Candidate, len(logits))
	count := map[int32]int{}
	const n = 4000
	s := newSampler(m.lib, m.sched.words, &inference.Request{Temperature: 1, Seed: 7}, parse(t, `root ::= [ab]`))
	defer s.free()
	for range n {
		token, err := s.sample(logits, scratch)
		if err != nil {
			t.Fatal(err)
		}
		count[token]++
	}
	want := n * math.E / (1 + math.E)
	if got := float64(count[int32(a)]); math.Abs(got-want) > 5*math.Sqrt(n*0.25) || len(count) != 2 {
		t.Errorf("%v, want %.0f of a", count, want)
	}
}

func parse(t *testing.T, gbnf string) *grammar.Grammar {
	t.Helper()
	g, err := grammar.Parse(gbnf)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// single returns the token of one character.
func single(t *testing.T, m *Model, c string) inference.Token {
	t.Helper()
	tokens, err := m.Tokenize(t.Context(), c)
	if err != nil || len(tokens) != 1 {
		t.Fatalf("%q is %v, %v", c, tokens, err)
	}
	return tokens[0]
}

func openForTest(t *testing.T) *Model {
	t.Helper()
	m, err := Open(t.Context(), Options{ModelPath: "testdata/larkfield-bloom-f16.gguf", Threads: 1})
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

func BenchmarkLikeliest(b *testing.B) {
	logits := make([]float32, 250880)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = rng.Float32()
	}
	for b.Loop() {
		if _, err := likeliest(logits); err != nil {
			b.Fatal(err)
		}
	}
}

func TestLogProbs(t *testing.T) {
	logits := []float32{0, 3, -1, 3, float32(math.Inf(-1)), 1}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l))
	}
	bytes := func(t int32) []byte { return []byte{byte('a' + t)} }
	got := logProbs(logits, 5, 4, bytes)
	if want := float32(1 - math.Log(sum)); math.Abs(float64(got.LogProb.LogProb-want)) > 1e-6 || got.Token != 5 || string(got.Bytes) != "f" {
		t.Errorf("%+v, want %f", got, want)
	}
	var order []inference.Token
	for _, k := range got.Top {
		order = append(order, k.Token)
		if want := logits[k.Token] - float32(math.Log(sum)); math.Abs(float64(k.LogProb-want)) > 1e-6 {
			t.Errorf("token %d: %f, want %f", k.Token, k.LogProb, want)
		}
	}
	if !slices.Equal(order, []inference.Token{1, 3, 5, 0}) {
		t.Errorf("order %v", order)
	}
	if got := logProbs(logits, 4, 0, bytes); !math.IsInf(float64(got.LogProb.LogProb), -1) || got.Top != nil {
		t.Errorf("%+v", got)
	}
	// Large logits do not overflow.
	if got := logProbs([]float32{1e30, 1e30}, 0, 1, bytes); math.Abs(float64(got.LogProb.LogProb)+math.Ln2) > 1e-6 {
		t.Errorf("%+v", got)
	}
}
