// Bench compares package llama with llama.cpp's own programs on one libllama,
// one model and one number of threads: generation and prompt processing of a
// single sequence with llama-bench, concurrent requests with llama-server. See
// README.md for how to run it and how to read the table.
//
// Only one of them runs at a time: each measurement starts a process, warms it
// up, measures and ends it. Rounds take turns, ours, theirs, ours, …, so that
// noise of the machine hits all alike; the table has medians over rounds.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	model   string
	lib     string
	server  string
	bench   string
	loader  string
	threads int
	// prefillChunk is our side's.
	prefillChunk int
	rounds       int
	repeat       int
	timeout      time.Duration
	only         string
	force        bool
	verbose      bool
}

func main() {
	if os.Getenv(oursEnv) != "" {
		if err := serveOurs(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "bench: ours:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, log io.Writer) error {
	var o options
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(log)
	fs.StringVar(&o.model, "model", "", "GGUF `file`, made by genmodel (required)")
	fs.StringVar(&o.lib, "lib", "", "`folder` of libllama, the one that -server and -bench use (required)")
	fs.StringVar(&o.server, "server", "", "llama-server `program`; empty leaves it out")
	fs.StringVar(&o.bench, "bench", "", "llama-bench `program`; empty leaves it out")
	fs.StringVar(&o.loader, "loader", "", "`command` to put in front of all programs, such as \"ROOT/ld-linux-x86-64.so.2 --library-path DIR\"")
	fs.IntVar(&o.threads, "threads", 2, "threads that compute")
	fs.IntVar(&o.prefillChunk, "prefill-chunk", 0, "llama.Options.PrefillChunk on our side; 0 means its default, and more lets prompts that come together be read before answers go on")
	fs.IntVar(&o.rounds, "rounds", 5, "how often each is measured")
	fs.IntVar(&o.repeat, "repeat", 3, "how often a single sequence is measured in each round")
	fs.DurationVar(&o.timeout, "timeout", 5*time.Minute, "longest time for one measurement of one side")
	fs.StringVar(&o.only, "only", "", "measure only what has this in its name")
	fs.BoolVar(&o.force, "force", false, "measure though the machine is busy")
	fs.BoolVar(&o.verbose, "v", false, "tell each figure as it comes")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if o.model == "" || o.lib == "" || fs.NArg() > 0 || min(o.threads, o.rounds, o.repeat) < 1 {
		fs.Usage()
		return fmt.Errorf("-model and -lib are required, numbers are positive")
	}
	facts, err := machine(o.threads)
	if err != nil {
		return err
	}
	if facts.load > maxLoad && !o.force {
		return fmt.Errorf("the load of this machine is %.2f, over %.1f: wait, or give -force and do not publish the figures", facts.load, maxLoad)
	}
	c := &comparison{options: o, log: log, figures: map[string]map[string][]float64{}}
	for round := range o.rounds {
		for _, s := range scenarios(o.repeat) {
			if !strings.Contains(s.name, o.only) {
				continue
			}
			if err := c.measure(ctx, s, round); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	c.print(out, facts)
	return nil
}
