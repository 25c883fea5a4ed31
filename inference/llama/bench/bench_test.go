package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// The test binary is our side, too.
func TestMain(m *testing.M) {
	if os.Getenv(oursEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestFigures(t *testing.T) {
	traces := []trace{{[]float64{0.1, 0.2, 0.4}}, {[]float64{0.3, 0.35, 0.5}}}
	for name, tt := range map[string]struct{ got, want float64 }{
		"rate":           {totalRate(traces), 12},
		"rate, reversed": {totalRate([]trace{traces[1], traces[0]}), 12},
		"prompt":         {promptRate(traces), 1280},
		"first p50":      {firstToken(0.5)(traces), 100},
		"first p99":      {firstToken(0.99)(traces), 300},
		"between p50":    {betweenTokens(0.5)(traces), 100},
		"between p99":    {betweenTokens(0.99)(traces), 200},
		"each wave":      {eachWave(totalRate)([][]trace{traces, traces[:1], traces[1:]}), 7.5},
		"in a wave":      {inWave(1, totalRate)([][]trace{nil, traces}), 12},
		"median of two":  {median([]float64{4, 1}), 2.5},
		"median":         {median([]float64{9, 1, 2}), 2},
		"quantile 0":     {quantile([]float64{3, 1, 2}, 0), 1},
		"quantile 1":     {quantile([]float64{3, 1, 2}, 1), 3},
		"largest":        {largest([]float64{3, 9, 2}), 9},
	} {
		if math.Abs(tt.got-tt.want) > 1e-9 {
			t.Errorf("%s: %g, want %g", name, tt.got, tt.want)
		}
	}
	if !math.IsNaN(median(nil)) || !math.IsNaN(quantile(nil, 0.5)) {
		t.Error("a figure of nothing")
	}
}

// TestScenarios wants prompts of the announced lengths, the same for both
// sides, others each round, and nothing in common but what is meant to be.
func TestScenarios(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range scenarios(2) {
		task := s.task(newWords(0))
		if other := s.task(newWords(0)); fmt.Sprint(task) != fmt.Sprint(other) {
			t.Errorf("%s: the sides get different tasks", s.name)
		}
		if other := s.task(newWords(1)); fmt.Sprint(task) == fmt.Sprint(other) {
			t.Errorf("%s: the rounds are the same", s.name)
		}
		for _, asks := range task.Waves {
			if len(asks) > task.Sequences {
				t.Errorf("%s: %d requests for %d sequences", s.name, len(asks), task.Sequences)
			}
			for _, a := range asks {
				if n := strings.Count(a.Prompt, " "); n != a.Tokens || n+a.MaxTokens > contextSize {
					t.Errorf("%s: %d words, %d tokens announced", s.name, n, a.Tokens)
				}
				if err := (&inference.Request{Prompt: a.Prompt, MaxTokens: a.MaxTokens}).Validate(); err != nil {
					t.Error(err)
				}
				if a.PublicPrefix > 0 && strings.Count(a.Prompt[:a.PublicPrefix], " ") != prefixTokens {
					t.Errorf("%s: the prefix is not %d words", s.name, prefixTokens)
				}
			}
		}
		first := task.Waves[0]
		switch s.name {
		case "shared prefix":
			prefix := first[0].Prompt[:first[0].PublicPrefix]
			for _, a := range slices.Concat(task.Waves...) {
				if !strings.HasPrefix(a.Prompt, prefix) || seen[a.Prompt] || a.Tokens != promptTokens {
					t.Errorf("%s: %.40q", s.name, a.Prompt)
				}
				seen[a.Prompt] = true
			}
		case "repeated prompt":
			if first[0] != task.Waves[1][0] || first[0].Scope == "" {
				t.Errorf("%s: %+v", s.name, task)
			}
		}
	}
}

// fakeServer answers as llama-server does.
func fakeServer(t *testing.T, events ...string) *serverClient {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" {
			return
		}
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil || r.URL.Path != "/completion" || body["n_predict"] != 2.0 || body["ignore_eos"] != true || body["stream"] != true {
			t.Errorf("%s %v %v", r.URL, body, err)
		}
		for _, e := range events {
			fmt.Fprintf(w, "data: %s\n\n", e)
		}
	}))
	t.Cleanup(srv.Close)
	return &serverClient{srv.URL, srv.Client()}
}

func TestServerClient(t *testing.T) {
	const (
		token = `{"index":0,"content":" bikona","tokens":[34310],"stop":false,"tokens_predicted":1,"tokens_evaluated":3}`
		both  = `{"content":" bikona gesoga","tokens":[34310,227780],"stop":false,"tokens_evaluated":3}`
		end   = `{"content":"","tokens":[],"stop":true,"tokens_predicted":2,"tokens_evaluated":3}`
	)
	for name, tt := range map[string]struct {
		events []string
		want   string // in the error
	}{
		"good":        {[]string{token, token, end}, ""},
		"two at once": {[]string{both, end}, ""},
		"too few":     {[]string{token, end}, "1 tokens came"},
		"too many":    {[]string{token, both, end}, "3 tokens came"},
		"no end":      {[]string{token, token}, "no end"},
		"no JSON":     {[]string{"x"}, "invalid character"},
		"prompt":      {[]string{strings.Replace(token, "evaluated\":3", "evaluated\":4", 1)}, "4 tokens, not 3"},
	} {
		c := fakeServer(t, tt.events...)
		if err := c.ready(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		got, err := c.complete(t.Context(), ask{Prompt: "x", Tokens: 3, MaxTokens: 2}, time.Now())
		if tt.want == "" && (err != nil || len(got.Times) != 2) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestBenchFigure(t *testing.T) {
	if got, err := benchFigure([]byte(`[{"n_gen":16,"avg_ts":1,"samples_ts":[38.4,42.3,40.0]}]`)); err != nil || got != 40 {
		t.Error(got, err)
	}
	for _, bad := range []string{"", "[]", "[{}]", `[{"samples_ts":[1]},{"samples_ts":[1]}]`} {
		if got, err := benchFigure([]byte(bad)); err == nil {
			t.Errorf("%q: %g", bad, got)
		}
	}
}

// TestGenerate measures a model that is none, side by side.
func TestGenerate(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{})
	defer m.Close()
	count := func(a ask) ask {
		tokens, err := m.Tokenize(t.Context(), a.Prompt)
		if err != nil {
			t.Fatal(err)
		}
		a.Tokens = len(tokens)
		return a
	}
	do := func(a ask, since time.Time) (trace, error) { return generate(t.Context(), m, count(a), since) }
	got, err := waves(task{2, [][]ask{{{Prompt: "a b", MaxTokens: 3}, {Prompt: "c d", MaxTokens: 3}}, {{Prompt: "e", MaxTokens: 2}}}}, do)
	if err != nil || len(got) != 2 || len(got[0]) != 2 || len(got[0][1].Times) != 3 || len(got[1][0].Times) != 2 {
		t.Fatal(got, err)
	}
	a := count(ask{Prompt: "a b", MaxTokens: 2})
	a.Tokens++
	if _, err := generate(t.Context(), m, a, time.Now()); err == nil {
		t.Error("a prompt of another length was measured")
	}
}

// TestTable prints what has been measured, and a ratio over 1 where ours is
// better.
func TestTable(t *testing.T) {
	c := &comparison{options: options{rounds: 2}, figures: map[string]map[string][]float64{}, engine: "libllama 1", backend: "/lib/libggml-cpu-x64.so"}
	more := row{title: "rate", unit: "tok/s", over: median, more: true}
	less := row{title: "wait", unit: "ms", over: largest}
	c.put(more, ours, 10)
	c.put(more, ours, 14)
	c.put(more, string(llamaBench), 8)
	c.put(less, ours, 15350)
	c.put(less, string(llamaServer), 20)
	c.put(less, string(llamaServer), 30700)
	c.put(row{title: "alone", unit: "ms", over: median}, ours, 1)
	var out strings.Builder
	c.print(&out, facts{cpu: "CPU", cores: 2, threads: 2, date: "2000-01-01"})
	text := strings.Join(strings.Fields(out.String()), " ")
	for _, want := range []string{
		"2000-01-01, CPU, 2 cores, 2 threads, libllama 1 (libggml-cpu-x64.so), load before 0.00, 2 rounds",
		"| rate | tok/s | 12 | – | 8 | 1.50 |", "| wait | ms | 15350 | 30700 | – | 2.00 |", "| alone | ms | 1 | – | – | – |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}
}

// TestFailures: what cannot be measured is no figure.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\necho some message >&2\nexit 3\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	slow := filepath.Join(dir, "slow")
	if err := os.WriteFile(slow, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	c := &comparison{options: options{bench: bad, server: bad, repeat: 1}}
	if _, err := c.runBench(ctx, nil); err == nil || !strings.Contains(err.Error(), "some message") {
		t.Error(err)
	}
	if _, err := c.runServer(ctx, task{Sequences: 1}); err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "some message") {
		t.Error(err)
	}
	c.timeout, c.bench = 10*time.Millisecond, slow
	err := c.within(ctx, func(ctx context.Context) error {
		_, err := c.runBench(ctx, nil)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "is the machine busy?") {
		t.Error(err)
	}
	c.model, c.lib, c.timeout = "none", dir, time.Minute
	if _, err := c.runOurs(ctx, task{Sequences: 1}); err == nil || !strings.Contains(err.Error(), "libllama not found in "+dir) {
		t.Errorf("our side: %v", err)
	}
	for _, args := range [][]string{nil, {"-model", "x"}, {"-model", "x", "-lib", "y", "-rounds", "0"}, {"-model", "x", "-lib", "y", "z"}} {
		if err := run(ctx, args, io.Discard, io.Discard); err == nil {
			t.Errorf("%q: no error", args)
		}
	}
}

// TestMachine reads the facts, where there is something to read.
func TestMachine(t *testing.T) {
	f, err := machine(2)
	if errors.Is(err, os.ErrNotExist) {
		t.Skip("no /proc here")
	}
	if err != nil || f.cores < 1 || f.load < 0 || f.threads != 2 {
		t.Errorf("%+v %v", f, err)
	}
}
