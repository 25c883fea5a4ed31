package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// oursEnv, if set, makes this program our side of a measurement.
const oursEnv = "NITROSEAL_BENCH_OURS"

// contextSize is the space for one request, on either side.
const contextSize = 512

// order is what the process of our side reads, report what it writes.
type order struct {
	Model, Lib string
	Threads    int
	// PrefillChunk is llama.Options'. 0 means its default.
	PrefillChunk int
	Task         task
}

type report struct {
	Engine  string
	Backend string
	Waves   [][]trace
}

// runOurs does a task with package llama, in a process of its own.
func (c *comparison) runOurs(ctx context.Context, t task) (*report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	in, err := json.Marshal(order{c.model, c.lib, c.threads, c.prefillChunk, t})
	if err != nil {
		return nil, err
	}
	cmd := c.command(ctx, self)
	cmd.Env = append(cmd.Env, oursEnv+"=1")
	cmd.Stdin = strings.NewReader(string(in))
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, tail(errs.String()))
	}
	var r report
	if err := json.Unmarshal(out, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// backendFile returns the file of ggml's CPU backend that this process has
// loaded, or "".
func backendFile() string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(maps)) {
		if at := strings.IndexByte(line, '/'); at >= 0 && strings.Contains(line[at:], "/libggml-cpu") {
			return strings.TrimSpace(line[at:])
		}
	}
	return ""
}

// serveOurs is the process of our side.
func serveOurs(in io.Reader, out io.Writer) error {
	var o order
	if err := json.NewDecoder(in).Decode(&o); err != nil {
		return err
	}
	ctx := context.Background()
	m, err := llama.Open(ctx, llama.Options{
		ModelPath: o.Model, LibraryDir: o.Lib, Threads: o.Threads,
		MaxSequences: o.Task.Sequences, ContextSize: contextSize,
		PrefillChunk: o.PrefillChunk,
	})
	if err != nil {
		return err
	}
	defer m.Close()
	r := report{Engine: m.Info().Engine, Backend: backendFile()}
	r.Waves, err = waves(o.Task, func(a ask, since time.Time) (trace, error) { return generate(ctx, m, a, since) })
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// generate makes one request.
func generate(ctx context.Context, m inference.Model, a ask, since time.Time) (trace, error) {
	var t trace
	for c, err := range m.Generate(ctx, inference.Request{
		Prompt: a.Prompt, MaxTokens: a.MaxTokens, CacheScope: a.Scope, PublicPrefix: a.PublicPrefix,
	}) {
		if err != nil {
			return trace{}, err
		}
		now := time.Since(since).Seconds()
		// Tokens that were not taken one by one have come together.
		for range c.Tokens {
			t.Times = append(t.Times, now)
		}
		if c.Usage != nil && c.Usage.PromptTokens != a.Tokens {
			return trace{}, fmt.Errorf("the prompt has %d tokens, not %d", c.Usage.PromptTokens, a.Tokens)
		}
	}
	return t, t.check(a)
}

// check wants all tokens: figures of shorter answers could not be compared.
func (t trace) check(a ask) error {
	if len(t.Times) != a.MaxTokens {
		return fmt.Errorf("%d tokens came, not %d", len(t.Times), a.MaxTokens)
	}
	return nil
}

// waves does a task, after a request to warm up.
func waves(t task, do func(a ask, since time.Time) (trace, error)) ([][]trace, error) {
	if _, err := do(newWords(-1).ask(16, 4), time.Now()); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	var all [][]trace
	for _, asks := range t.Waves {
		traces := make([]trace, len(asks))
		errs := make([]error, len(asks))
		var running sync.WaitGroup
		since := time.Now()
		for i, a := range asks {
			running.Go(func() { traces[i], errs[i] = do(a, since) })
		}
		running.Wait()
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		all = append(all, traces)
	}
	return all, nil
}
