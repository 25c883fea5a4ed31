// Soak runs the chatbot's whole pipeline at full load for a long time, and tells
// whether anything in it grows, slows down or goes wrong by and by:
//
//   - clients of several kinds ask without pause: most compare the whole answer
//     with the one that it must be, others cancel in the middle, attest anew
//     again and again, have long conversations, or send what must be refused;
//   - parent, enclave and KMS are processes (package local), the clients are in
//     this one, and all four are looked at every few seconds;
//   - a robust line through what was seen after a warm-up must be flat, and what
//     is idle before the load must be no less idle after it.
//
// The enclave gives its keys out for a minute only, so that each run sees many.
//
//	go build -o bin/chatbot ./examples/chatbot
//	go run ./examples/chatbot/soak -chatbot bin/chatbot -duration 30m -o docs/SOAK.md
//
// It writes a report in Markdown, and exits with status 1 if something failed.
// Nothing else should run on the machine. It is for Linux.
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
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
)

// settings are what the flags say.
type settings struct {
	chatbot, out    string
	duration, every time.Duration
	clients         int
	threads         int
	timeout         time.Duration
	// settle bounds the wait after the load for all to be idle again.
	settle time.Duration
	args   []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	failed, err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	case failed:
		os.Exit(1)
	}
}

// run does what args say, and returns whether the pipeline failed.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (failed bool, err error) {
	s, err := parse(args, stderr)
	if err != nil {
		return false, err
	}
	r, err := s.soak(ctx, stderr)
	if err != nil {
		return false, err
	}
	for _, p := range r.problems() {
		fmt.Fprintln(stderr, "FAILED:", p)
	}
	return len(r.problems()) > 0, s.write(stdout, r.document())
}

func parse(args []string, stderr io.Writer) (*settings, error) {
	s := &settings{args: args}
	fs := flag.NewFlagSet("soak", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&s.chatbot, "chatbot", "bin/chatbot", "the chatbot's `binary`")
	fs.StringVar(&s.out, "o", "", "`file` to write the report to; empty means standard output")
	fs.DurationVar(&s.duration, "duration", 30*time.Minute, "how long to load the pipeline")
	fs.DurationVar(&s.every, "every", 5*time.Second, "time between two looks at the processes")
	fs.IntVar(&s.clients, "clients", len(exact.Names), "clients that ask at a time")
	fs.IntVar(&s.threads, "threads", 1, "threads of the model")
	fs.DurationVar(&s.timeout, "timeout", time.Minute, "deadline of each question; slow machines need more")
	fs.DurationVar(&s.settle, "settle", 3*time.Minute, "how long after the load all may take to be idle; connections are kept for a minute and more")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, errors.New("no arguments are taken")
	case s.clients < len(kinds) || s.clients > len(exact.Names):
		return nil, fmt.Errorf("-clients must be %d to %d: one of each kind, and each has a name", len(kinds), len(exact.Names))
	case s.every <= 0 || s.duration < minSamples*s.every:
		return nil, fmt.Errorf("-duration must be at least %d times -every, which must be more than 0", minSamples)
	case s.threads < 1 || s.timeout <= 0 || s.settle < 0:
		return nil, errors.New("-threads and -timeout must be more than 0, and -settle not less")
	}
	var err error
	s.chatbot, err = filepath.Abs(s.chatbot)
	return s, err
}

// write writes the report to where it is wanted.
func (s *settings) write(stdout io.Writer, document string) error {
	if s.out == "" {
		_, err := io.WriteString(stdout, document)
		return err
	}
	return os.WriteFile(s.out, []byte(document), 0o644)
}
