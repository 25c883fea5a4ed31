package terminal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// Once asks one question and prints its answer on opts.Out as it comes, or as
// one line of JSON. The error has been told on opts.Err, and is for ExitCode:
// what Asker returned, ErrInterrupted, ErrUsage, or that of Out or a file.
func Once(ctx context.Context, opts Options, question string) error {
	if err := opts.check(true); err != nil {
		if opts.Err != nil {
			newScreen(&opts).fail(err)
		}
		return err
	}
	s := newScreen(&opts)
	err := once(ctx, &opts, s, question)
	if err == nil {
		return nil
	}
	s.fail(err)
	var without *withoutReceipt
	if opts.JSON && !errors.As(err, &without) {
		writeJSON(opts.Out, newFailure(err)) // err is what counts
	}
	return err
}

func once(ctx context.Context, o *Options, s *screen, question string) error {
	if strings.TrimSpace(question) == "" {
		return wire.ErrEmpty
	}
	if o.Receipt != "" { // better told before the question has left
		if dir, err := os.Stat(filepath.Dir(o.Receipt)); err != nil || !dir.IsDir() {
			return fmt.Errorf("%w: there is no folder for the receipt %s", ErrUsage, o.Receipt)
		}
	}
	q := ask.Question{Request: o.request(), Receipt: o.Receipt != ""}
	q.Messages = messages(o.System, nil, question)
	if err := validate(&q.Request); err != nil {
		return err
	}
	s.wait()
	att, err := o.attestation(ctx)
	if err != nil {
		return err
	}
	if o.Verbose {
		s.verified(att, o.ExpectSimulated)
	} else {
		s.warn(att, o.ExpectSimulated)
	}

	s.wait()
	p := newPrinter(s)
	print := p.print
	if o.JSON {
		print = func(string) error { return nil }
	}
	a, begun, err := o.stream(ctx, q, print)
	if end := p.end(); err == nil {
		err = end
	}
	if err != nil {
		if begun && !o.JSON {
			s.note(faint, "(the text above is an unfinished answer)")
		}
		return err
	}
	receipt := o.Receipt
	var unsaved error
	if receipt != "" {
		if err := saveReceipt(receipt, a.receipt); err != nil {
			receipt, unsaved = "", &withoutReceipt{err}
		}
	}
	if o.JSON {
		if err := writeJSON(o.Out, newResult(a, o.answered(ctx, att), receipt)); err != nil {
			return err
		}
		return unsaved
	}
	s.finish(a, o)
	return unsaved
}

// withoutReceipt is the error of a question that was answered all the same.
type withoutReceipt struct{ err error }

func (e *withoutReceipt) Error() string { return e.err.Error() }
func (e *withoutReceipt) Unwrap() error { return e.err }

// answered is the attestation of the enclave that has just answered: another
// one than att, which was there before, if the enclave was replaced meanwhile.
func (o *Options) answered(ctx context.Context, att *ask.Attestation) *ask.Attestation {
	if now, err := o.attestation(ctx); err == nil {
		return now
	}
	return att
}

// finish adds to a printed answer what there is to say about it.
func (s *screen) finish(a answer, o *Options) {
	if cut := finished(a, o.MaxTokens); cut != "" {
		s.note(faint, "%s", cut)
	}
	if o.Verbose {
		s.note(faint, "%s", tokens(a.usage))
	}
}
