package main

import (
	"bytes"
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/terminal"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// talkFlags are how client and demo talk in a terminal.
type talkFlags struct {
	terminal.Flags
	question string
	once     bool // -q was given
	verbose  *bool
	// simulated says that the user knows that nothing is real.
	simulated bool
}

func newTalkFlags(fs *flag.FlagSet) *talkFlags {
	t := &talkFlags{Flags: terminal.Flags{Timeout: time.Minute}}
	t.Register(fs)
	fs.Func("q", "ask this one `question` and exit", func(q string) error {
		t.question, t.once = q, true
		return nil
	})
	t.verbose = fs.Bool("v", false, "tell each step")
	return t
}

// run asks the one question, or talks until the user ends it. An interrupt
// cancels the answer under way; only SIGTERM ends ctx here.
func (t *talkFlags) run(ctx context.Context, asker ask.Asker, s streams) error {
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), syscall.SIGTERM)
	defer stop()
	opts := terminal.Options{
		Asker: asker, In: s.in, Out: s.out, Err: s.err, Interrupts: interrupts,
		ExpectSimulated: t.simulated, SingleModel: model.Digest, Flags: t.Flags,
	}
	opts.Verbose = *t.verbose
	var err error
	if t.once {
		var whole bytes.Buffer
		if *t.verbose {
			// The lines of steps would come between the words.
			opts.Out = &whole
		}
		err = terminal.Once(ctx, opts, t.question)
		if _, lost := s.out.Write(whole.Bytes()); lost != nil && err == nil {
			return lost
		}
	} else {
		err = terminal.Chat(ctx, opts)
	}
	if err == nil {
		return nil
	}
	return &toldError{err}
}

// toldError is an error that the terminal has told already: it only chooses the
// exit status.
type toldError struct{ err error }

func (e *toldError) Error() string   { return "" }
func (e *toldError) Unwrap() error   { return e.err }
func (e *toldError) ExitStatus() int { return terminal.ExitCode(e.err) }
