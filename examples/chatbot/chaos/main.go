// Chaos breaks the chatbot's whole pipeline, hop by hop and one fault at a time,
// while 16 clients ask, mends it again and checks what came of it:
//
//   - no answer was wrong, cut without an error, or another client's: each client
//     asks with a user name of its own, which its answer repeats;
//   - every question that got no answer got an error of the few that the fault
//     may cause, before its deadline;
//   - every client gets answers again, within a bound, once the fault is mended;
//   - neither parent, enclave nor client has more descriptors, memory or
//     goroutines than before.
//
// The parts are real processes (package local), with relays on the sockets
// between them; what only a program of its own can be made to do, such as a
// failing security module or a wrong clock, is done in one process.
//
//	go build -o bin/chatbot ./examples/chatbot
//	go run ./examples/chatbot/chaos -chatbot bin/chatbot -o docs/CHAOS.md
//
// It prints a table in Markdown, and exits with status 1 if a fault did harm.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

// settings are what the flags say.
type settings struct {
	chatbot, out string
	only         *regexp.Regexp
	list         bool
	timeout      time.Duration
	logs         bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failures, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(2)
	case failures > 0:
		os.Exit(1)
	}
}

// run does what args say, and returns how many cells failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (failures int, err error) {
	s, err := parse(args, stderr)
	if err != nil {
		return 0, err
	}
	chosen := choose(cells(), s.only)
	if s.list {
		for _, c := range chosen {
			fmt.Fprintln(stdout, c.name())
		}
		return 0, nil
	}
	if len(chosen) == 0 {
		return 0, errors.New("-only matches no cell")
	}
	worlds, err := newWorlds(s)
	if err != nil {
		return 0, err
	}
	defer worlds.close()
	began := time.Now()
	var results []result
	for _, c := range chosen {
		r := runCell(ctx, worlds, c)
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if r.verdict() == failed {
			failures++
		}
		fmt.Fprintf(stderr, "%-7s %s: %s\n", r.verdict(), c.name(), r.summary())
		results = append(results, r)
	}
	return failures, s.write(stdout, results, time.Since(began))
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{}
	fs := flag.NewFlagSet("chaos", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.chatbot, "chatbot", "bin/chatbot", "the chatbot's `binary`")
	fs.StringVar(&s.out, "o", "", "`file` to write the table to; empty means standard output")
	fs.BoolVar(&s.list, "list", false, "only name the cells")
	fs.DurationVar(&s.timeout, "timeout", 3*time.Second, "deadline of each question; slow machines need more")
	fs.BoolVar(&s.logs, "logs", false, "keep the folder with the logs of parent and enclaves, and name it")
	fs.Func("only", "`regular expression` for the names of the cells to run, as -list gives them", func(v string) (err error) {
		s.only, err = regexp.Compile(v)
		return err
	})
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 || s.timeout <= 0 {
		return nil, errors.New("no arguments are taken, and -timeout must be more than 0")
	}
	var err error
	s.chatbot, err = filepath.Abs(s.chatbot)
	return s, err
}

func choose(all []cell, only *regexp.Regexp) []cell {
	if only == nil {
		return all
	}
	var some []cell
	for _, c := range all {
		if only.MatchString(c.name()) {
			some = append(some, c)
		}
	}
	return some
}

// write writes the table to where it is wanted.
func (s *settings) write(stdout io.Writer, results []result, took time.Duration) error {
	if s.out == "" {
		_, err := io.WriteString(stdout, document(results, took))
		return err
	}
	return os.WriteFile(s.out, []byte(document(results, took)), 0o644)
}
