package main

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/nitroseal/nitroseal/inference/llama/bench/bloom"
)

// ask is one request. Scope and PublicPrefix are those of inference.Request;
// llama-server decides by itself what to keep.
type ask struct {
	Prompt       string
	Tokens       int // of the prompt
	MaxTokens    int
	Scope        string
	PublicPrefix int
}

// task is the work of one measurement: waves one after the other, whose
// requests start together.
type task struct {
	Sequences int // how many requests can run side by side
	Waves     [][]ask
}

// trace is what came of a request: when each token came, in seconds from the
// start of its wave.
type trace struct {
	Times []float64
}

// peer is what our figures are compared with.
type peer string

const (
	llamaServer peer = "llama-server"
	llamaBench  peer = "llama-bench"
)

// scenario is a measurement: its task, which is another one each round, and
// the figures that its traces give.
type scenario struct {
	name string
	peer peer
	task func(r *words) task
	rows []row
	// bench are the arguments of llama-bench, if that is the peer. Its one
	// figure goes into the first row.
	bench []string
}

// row is a line of the table.
type row struct {
	title string
	unit  string
	// of makes the figure of a round.
	of func(waves [][]trace) float64
	// over makes one figure of those of all rounds.
	over func([]float64) float64
	// more says that more is better.
	more bool
}

const (
	promptTokens = 128
	newTokens    = 64
	prefixTokens = 96
)

func scenarios(repeat int) []scenario {
	all := []scenario{
		{
			name: "single generation", peer: llamaBench, bench: []string{"-p", "0", "-n", fmt.Sprint(newTokens)},
			task: func(r *words) task { return repeated(repeat, func() ask { return r.ask(1, newTokens) }) },
			rows: []row{{"1 sequence, generation", "tok/s", eachWave(generationRate), median, true}},
		},
		{
			name: "single prompt", peer: llamaBench, bench: []string{"-p", fmt.Sprint(promptTokens), "-n", "0"},
			task: func(r *words) task { return repeated(repeat, func() ask { return r.ask(promptTokens, 1) }) },
			rows: []row{{fmt.Sprintf("1 sequence, prompt of %d tokens", promptTokens), "tok/s", eachWave(promptRate), median, true}},
		},
	}
	for _, n := range []int{1, 4, 8} {
		all = append(all, scenario{
			name: fmt.Sprintf("concurrent %d", n), peer: llamaServer,
			task: func(r *words) task { return task{n, [][]ask{r.asks(n, promptTokens, newTokens)}} },
			rows: wave(0, fmt.Sprintf("%d at once", n)),
		})
	}
	return append(all, scenario{
		name: "shared prefix", peer: llamaServer,
		task: func(r *words) task {
			prefix := r.text(prefixTokens)
			shared := func() []ask {
				asks := r.asks(8, promptTokens-prefixTokens, newTokens)
				for i := range asks {
					asks[i].Prompt = prefix + asks[i].Prompt
					asks[i].Tokens += prefixTokens
					asks[i].PublicPrefix = len(prefix)
				}
				return asks
			}
			return task{8, [][]ask{shared(), shared()}}
		},
		rows: append(wave(0, "8, shared prefix, first"), wave(1, "8, shared prefix, second")...),
	}, scenario{
		name: "repeated prompt", peer: llamaServer,
		task: func(r *words) task {
			a := r.ask(promptTokens, 8)
			a.Scope = "user"
			return task{1, [][]ask{{a}, {a}}}
		},
		rows: []row{
			{"prompt, cold: first token", "ms", inWave(0, firstToken(0.5)), median, false},
			{"prompt, repeated: first token", "ms", inWave(1, firstToken(0.5)), median, false},
		},
	})
}

// wave returns the rows about one wave of requests.
func wave(n int, title string) []row {
	return []row{
		{title + ": all generated tokens", "tok/s", inWave(n, totalRate), median, true},
		{title + ": first token, p50", "ms", inWave(n, firstToken(0.5)), median, false},
		{title + ": first token, p99", "ms", inWave(n, firstToken(0.99)), largest, false},
		{title + ": between tokens, p50", "ms", inWave(n, betweenTokens(0.5)), median, false},
		{title + ": between tokens, p99", "ms", inWave(n, betweenTokens(0.99)), median, false},
	}
}

// repeated is a task of requests one after the other.
func repeated(n int, next func() ask) task {
	t := task{Sequences: 1}
	for range n {
		t.Waves = append(t.Waves, []ask{next()})
	}
	return t
}

// words makes prompts. Both sides of a round get the same ones, and no two
// prompts have more than chance in common.
type words struct{ r *rand.Rand }

func newWords(round int) *words { return &words{rand.New(rand.NewPCG(1, uint64(round)))} }

// text returns that many tokens.
func (w *words) text(tokens int) string {
	var b strings.Builder
	for range tokens {
		b.WriteString(bloom.Word(w.r.IntN(bloom.Words)))
	}
	return b.String()
}

func (w *words) ask(tokens, newTokens int) ask {
	return ask{Prompt: w.text(tokens), Tokens: tokens, MaxTokens: newTokens}
}

func (w *words) asks(n, tokens, newTokens int) []ask {
	all := make([]ask, n)
	for i := range all {
		all[i] = w.ask(tokens, newTokens)
	}
	return all
}
