package terminal

import (
	"context"
	"errors"
	"io"
	"strings"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/inference"
)

// Chat prompts for questions and prints their answers, until the input ends or
// the user leaves. A question's own failure does not end it.
//
// It returns nil when the user has left, and after input that is no terminal
// the error of the first question that failed. Otherwise the error is
// ErrInterrupted, ErrUsage, that of the first attestation, ctx's, or that of
// In or Out. It has been told on opts.Err, and is for ExitCode.
func Chat(ctx context.Context, opts Options) error {
	if err := opts.check(false); err != nil {
		if opts.Err != nil {
			newScreen(&opts).fail(err)
		}
		return err
	}
	t := &talk{o: &opts, s: newScreen(&opts)}
	t.c.system = opts.System
	_, t.byHand = descriptor(opts.In)
	err := t.run(ctx)
	if err != nil && !errors.Is(err, ErrInterrupted) && !errors.Is(err, context.Canceled) {
		t.s.fail(err)
	}
	if err == nil && !t.byHand {
		return t.first
	}
	return err
}

// A talk is a Chat under way.
type talk struct {
	o *Options
	s *screen
	c conversation
	// byHand means that the input is a terminal.
	byHand bool
	// att is the enclave that answered last.
	att *ask.Attestation
	// receipt is that of the last answer, nil if there is no answer.
	receipt []byte
	answers int
	// first is the error of the first question that failed.
	first error
	// armed means that the next interrupt leaves.
	armed bool
}

// errLeave is how commands end the conversation.
var errLeave = errors.New("leave")

func (t *talk) run(ctx context.Context) error {
	if err := t.attest(ctx); err != nil {
		return err
	}
	if t.byHand {
		t.s.note(faint, "Ask a question; /help tells the commands, Ctrl-D leaves. Nothing that you enter is written to disk.")
	}
	lines := newLineReader(t.o, t.s.moves)
	defer lines.close()
	for {
		line, err := lines.readLine(ctx)
		switch {
		case errors.Is(err, ErrInterrupted):
			if leave := t.interrupted(line); leave {
				return err
			}
			continue
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		t.armed = false
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		switch err := t.enter(ctx, line); {
		case err == errLeave:
			return nil
		case err != nil:
			return err
		}
	}
}

// interrupted is told of an interrupt at the prompt, where line was entered,
// and reports whether it leaves.
func (t *talk) interrupted(line string) (leave bool) {
	if !t.byHand || t.armed && line == "" {
		return true
	}
	if t.armed = line == ""; t.armed {
		t.s.note(faint, "(Ctrl-C again, Ctrl-D or /quit leaves)")
	}
	return false
}

// enter does what a line asks for. An error ends the conversation.
func (t *talk) enter(ctx context.Context, line string) error {
	if strings.HasPrefix(line, "//") {
		line = line[1:] // a question that begins with a slash
	} else if strings.HasPrefix(line, "/") {
		return t.command(ctx, line)
	}
	err := t.question(ctx, line)
	var write *outputError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &write):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if t.first == nil {
		t.first = err
	}
	if errors.Is(err, ErrInterrupted) {
		t.s.note(faint, "(interrupted; this question is not part of the conversation)")
		if !t.byHand {
			return err
		}
	} else {
		t.s.fail(err)
	}
	if t.o.JSON {
		return output(writeJSON(t.o.Out, newFailure(err)))
	}
	return nil
}

// question asks one question, with less and less of the conversation if need
// be.
func (t *talk) question(ctx context.Context, question string) error {
	t.s.wait()
	if err := t.attest(ctx); err != nil {
		return err
	}
	q := ask.Question{Request: t.o.request(), Receipt: true}
	reserve := q.MaxTokens
	if reserve == 0 {
		reserve = inference.DefaultMaxTokens
	}
	if t.o.Single || t.o.SingleModel != "" && t.att.Model.Digest == t.o.SingleModel {
		t.c.turns = nil
	}
	dropped := t.c.fit(question, t.att.Model.MaxTokens, reserve)
	for {
		q.Messages = t.c.ask(question)
		if err := validate(&q.Request); err != nil {
			return err
		}
		a, begun, err := t.answer(ctx, q)
		if err == nil {
			return t.answered(ctx, question, q.Messages, a, dropped)
		}
		if begun || !tooLong(err) || len(t.c.turns) == 0 {
			return err
		}
		dropped += t.c.halve()
	}
}

// answer prints the answer to q as it comes.
func (t *talk) answer(ctx context.Context, q ask.Question) (answer, bool, error) {
	t.s.wait()
	p := newPrinter(t.s)
	print := func(text string) error { return output(p.print(text)) }
	if t.o.JSON {
		print = func(string) error { return nil }
	}
	a, begun, err := t.o.stream(ctx, q, print)
	if end := output(p.end()); err == nil {
		err = end
	}
	if err != nil && begun && !t.o.JSON && !errors.Is(err, ErrInterrupted) {
		t.s.note(faint, "(the text above is an unfinished answer)")
	}
	return a, begun, err
}

// answered makes an answer part of the conversation.
func (t *talk) answered(ctx context.Context, question string, sent []inference.Message, a answer, dropped int) error {
	t.c.turns = append(t.c.turns, turn{question, strings.TrimSpace(a.text)})
	t.c.learn(sent, a.usage.PromptTokens)
	t.receipt = a.receipt
	t.answers++
	if dropped > 0 {
		t.s.note(faint, "(the conversation is longer than the model's context: it no longer knows the oldest %s of it)", plural(dropped, "question"))
	}
	if t.o.JSON {
		return output(writeJSON(t.o.Out, newResult(a, t.o.answered(ctx, t.att), "")))
	}
	t.s.finish(a, t.o)
	return nil
}

// attest tells of the enclave that is asked next, if it is not like the one
// before.
func (t *talk) attest(ctx context.Context) error {
	att, err := t.o.attestation(ctx)
	if err != nil {
		return err
	}
	if t.att == nil || !alike(t.att, att) || t.o.Verbose && t.att.Key.ID != att.Key.ID {
		t.s.verified(att, t.o.ExpectSimulated)
	}
	t.att = att
	return nil
}

// alike reports whether two enclaves run the same code with the same model on
// the same grounds.
func alike(a, b *ask.Attestation) bool {
	return pcr0(a) == pcr0(b) && a.Measurement == b.Measurement && a.Model.Digest == b.Model.Digest &&
		a.Simulated == b.Simulated && a.Policy.AnyMeasurement == b.Policy.AnyMeasurement
}

// An outputError means that Out takes no more.
type outputError struct{ err error }

func (e *outputError) Error() string { return "cannot write the answer: " + e.err.Error() }
func (e *outputError) Unwrap() error { return e.err }

func output(err error) error {
	if err == nil {
		return nil
	}
	return &outputError{err}
}
