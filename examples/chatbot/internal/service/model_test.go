package service_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// faulty is a model that fails the question "fail" in some way.
type faulty struct {
	inference.Model
	fail func(yield func(inference.Chunk, error) bool)
}

func (f faulty) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	if req.Prompt != "fail" {
		return f.Model.Generate(ctx, req)
	}
	return f.fail
}

func text(s string) inference.Chunk {
	return inference.Chunk{Text: s, Tokens: []inference.Token{1}}
}

// Whatever a model does, what was said before stands, the end is an error, and
// the next question is answered.
func TestModelFails(t *testing.T) {
	for name, fail := range map[string]func(yield func(inference.Chunk, error) bool){
		"error": func(yield func(inference.Chunk, error) bool) {
			if yield(text("part"), nil) {
				yield(inference.Chunk{}, errors.New(canary))
			}
		},
		"panic":         func(yield func(inference.Chunk, error) bool) { yield(text("part"), nil); panic(canary) },
		"no last chunk": func(yield func(inference.Chunk, error) bool) { yield(text("part"), nil) },
		"a last chunk without usage": func(yield func(inference.Chunk, error) bool) {
			if yield(text("part"), nil) {
				yield(inference.Chunk{FinishReason: inference.FinishStop}, nil)
			}
		},
		"a huge chunk": func(yield func(inference.Chunk, error) bool) {
			if yield(text("part"), nil) {
				yield(text(strings.Repeat(canary, session.MaxMessage)), nil)
			}
		},
	} {
		w := newWorld(t, options{Options: service.Options{Model: faulty{echo(), fail}}})
		a, err := w.ask(payload(question("fail"), w.signed))
		if a.text != "part" || a.chunks != 1 {
			t.Errorf("%s: %q in %d chunks", name, a.text, a.chunks)
		}
		remote, ok := errors.AsType[*session.RemoteError](err)
		if !ok || remote.Code != string(wire.ReasonInternal) {
			t.Errorf("%s: %v", name, err)
		}
		w.good(name)
		w.silent(name)
	}
}

// A model that has ended its answer is not asked on, and says nothing more.
func TestModelGoesOn(t *testing.T) {
	more := false
	w := newWorld(t, options{Options: service.Options{Model: faulty{echo(), func(yield func(inference.Chunk, error) bool) {
		more = yield(inference.Chunk{FinishReason: inference.FinishStop, Usage: &inference.Usage{}}, nil)
	}}}})
	if a, err := w.ask(payload(question("fail"), w.signed)); err != nil || a.chunks != 1 || more {
		t.Errorf("%d chunks, %v, asked on: %v", a.chunks, err, more)
	}
}

// Chunks that say nothing are not sent: their number would tell of what is held
// back.
func TestEmptyChunks(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: faulty{echo(), func(yield func(inference.Chunk, error) bool) {
		_ = yield(inference.Chunk{}, nil) && yield(text("a"), nil) && yield(inference.Chunk{}, nil) &&
			yield(inference.Chunk{FinishReason: inference.FinishStop, Usage: &inference.Usage{}}, nil)
	}}}})
	if a, err := w.ask(payload(question("fail"), w.signed)); err != nil || a.text != "a" || a.chunks != 2 {
		t.Errorf("%q in %d chunks, %v", a.text, a.chunks, err)
	}
}

// held is a model that answers "held" only when it is let, one at a time.
func held(waiting chan<- struct{}, release <-chan struct{}) inference.Model {
	return inferencetest.New(inferencetest.Options{MaxConcurrent: 1, Step: func(ctx context.Context) error {
		select {
		case waiting <- struct{}{}:
		default:
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
}

// A question too many is told so, and the one before it is answered.
func TestOverloaded(t *testing.T) {
	waiting, release := make(chan struct{}, 1), make(chan struct{})
	w := newWorld(t, options{Options: service.Options{Model: held(waiting, release)}})
	first := make(chan error, 1)
	go func() {
		var failed error
		for _, err := range w.chunks(t.Context(), payload(question("first"), w.signed)) {
			failed = err
		}
		first <- failed
	}()
	<-waiting
	w.expect("a second", payload(question(canary), w.signed), wire.ReasonOverloaded)
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-w.ended
	w.good("overload")
}

// A client that leaves, by its context or by the loop, ends the model's work.
func TestClientLeaves(t *testing.T) {
	waiting, release := make(chan struct{}, 1), make(chan struct{}, 1)
	w := newWorld(t, options{Options: service.Options{Model: held(waiting, release)}})
	for name, leave := range map[string]func(cancel func()) (stop bool){
		"context": func(cancel func()) bool { cancel(); return false },
		"loop":    func(func()) bool { return true },
	} {
		ctx, cancel := context.WithCancel(t.Context())
		release <- struct{}{} // the first chunk
		chunks := 0
		for _, err := range w.chunks(ctx, payload(question(canary), w.signed)) {
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", name, err)
				}
				break
			}
			chunks++
			if leave(cancel) {
				break
			}
		}
		cancel()
		if chunks != 1 {
			t.Errorf("%s: %d chunks", name, chunks)
		}
		refused(t, name, (<-w.ended).err, wire.ReasonDeadline)
		w.silent(name)
	}
	close(release)
	w.good("clients left")
}

// watching is a model that notes its context.
type watching struct {
	inference.Model
	ctx context.Context
}

func (m *watching) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	m.ctx = ctx
	return m.Model.Generate(ctx, req)
}

// The model's context ends with the answer, for models that work ahead.
func TestModelContextEnds(t *testing.T) {
	m := &watching{Model: echo()}
	w := newWorld(t, options{Options: service.Options{Model: m}})
	var ended error
	w.returned = func() { ended = m.ctx.Err() }
	if _, err := w.ask(payload(question("hi"), w.signed)); err != nil || ended == nil {
		t.Errorf("%v, the model's context: %v", err, ended)
	}
}

// After the client has left, what the model makes of it does not matter.
func TestModelErrorAfterClientLeft(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := newWorld(t, options{Options: service.Options{Model: inferencetest.New(inferencetest.Options{Step: func(model context.Context) error {
		cancel()
		<-model.Done()
		return errors.New(canary)
	}})}})
	for _, err := range w.chunks(ctx, payload(question("hi"), w.signed)) {
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	refused(t, "the client left", (<-w.ended).err, wire.ReasonDeadline)
	w.silent("the client left")
}

// A receipt that cannot be made fails the answer: it was asked for.
func TestReceiptFails(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want wire.Reason
	}{
		{errors.New(canary), wire.ReasonInternal},
		{fmt.Errorf("%w: %w", session.ErrAttester, errors.New(canary)), wire.ReasonNSM},
		{&attest.OpError{Op: canary, Err: attest.CodeInternalError}, wire.ReasonNSM},
	} {
		w := newWorld(t, options{Options: service.Options{Model: echo(), Receipt: func(context.Context, session.Claims) ([]byte, error) {
			return nil, tt.err
		}}})
		q := question("hi")
		q.Receipt = true
		a, err := w.ask(payload(q, w.signed))
		refused(t, "no receipt", err, tt.want)
		if a.text != " You said: hi" || a.last.FinishReason != "" {
			t.Errorf("%q, %s", a.text, a.last.FinishReason)
		}
		w.good("no receipt")
		w.silent("no receipt")
	}
}

// The claims are erased when the receipt is made.
func TestReceiptClaimsAreErased(t *testing.T) {
	var kept session.Claims
	w := newWorld(t, options{Options: service.Options{Model: echo(), Receipt: func(_ context.Context, c session.Claims) ([]byte, error) {
		if !strings.Contains(string(c.Request), canary) || !strings.Contains(string(c.Response), canary) {
			t.Error("claims without question or answer")
		}
		kept = c
		return []byte("receipt"), nil
	}}})
	q := question(canary)
	q.Receipt = true
	if a, err := w.ask(payload(q, w.signed)); err != nil || string(a.last.Receipt) != "receipt" {
		t.Errorf("%q, %v", a.last.Receipt, err)
	}
	if strings.Trim(string(kept.Request)+string(kept.Response), "\x00") != "" {
		t.Error("question or answer is still there")
	}
}
