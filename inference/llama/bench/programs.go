package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// command prepares a program, behind the loader if there is one.
func (o *options) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	all := append(strings.Fields(o.loader), name)
	all = append(all, args...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	// Without this a killed program whose children hold its output would be
	// waited for without end.
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = os.Environ()
	return cmd
}

// foreign prepares a program of llama.cpp. ggml looks for its CPU backends in
// the folder that it was built for; under another root it is told which file
// our side has taken, the best one for this machine.
func (c *comparison) foreign(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := c.command(ctx, name, args...)
	if c.loader != "" {
		cmd.Env = append(cmd.Env, "GGML_BACKEND_PATH="+c.backend)
	}
	return cmd
}

// runBench returns the tokens per second that llama-bench measures, the median
// of its repetitions. It warms up by itself.
func (c *comparison) runBench(ctx context.Context, args []string) (float64, error) {
	args = append(args, "-m", c.model, "-t", fmt.Sprint(c.threads), "-r", fmt.Sprint(c.repeat), "-o", "json")
	cmd := c.foreign(ctx, c.bench, args...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("llama-bench: %w: %s", err, tail(errs.String()))
	}
	return benchFigure(out)
}

func benchFigure(out []byte) (float64, error) {
	var tests []struct {
		Samples []float64 `json:"samples_ts"`
	}
	if err := json.Unmarshal(out, &tests); err != nil {
		return 0, fmt.Errorf("llama-bench: %w", err)
	}
	if len(tests) != 1 || len(tests[0].Samples) == 0 {
		return 0, fmt.Errorf("llama-bench: %d tests, not one with samples", len(tests))
	}
	return median(tests[0].Samples), nil
}

// tail is the end of a program's messages.
func tail(s string) string {
	return s[max(0, len(s)-2000):]
}
