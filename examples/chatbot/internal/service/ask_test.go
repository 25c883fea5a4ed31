package service_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// chunks are the parts of one answer as they come. The last one that a
// question has is followed by waiting until the service has returned.
func (w *world) chunks(ctx context.Context, p session.PayloadFunc) iter.Seq2[wire.Chunk, error] {
	return func(yield func(wire.Chunk, error) bool) {
		for message, err := range w.client.Ask(ctx, p) {
			var c wire.Chunk
			if err == nil {
				c, err = wire.DecodeChunk(message)
			}
			if !yield(c, err) {
				return
			}
		}
	}
}

// answer is a whole answer.
type answer struct {
	text   string
	chunks int
	last   wire.Chunk
	handled
}

func (w *world) ask(p session.PayloadFunc) (answer, error) {
	w.t.Helper()
	var a answer
	var failed error
	for c, err := range w.chunks(w.t.Context(), p) {
		if err != nil {
			failed = err
			break
		}
		a.text += c.Text
		a.chunks++
		a.last = c
	}
	a.handled = <-w.ended
	return a, failed
}

// good asks a question that must be answered: the service serves on.
func (w *world) good(after string) {
	w.t.Helper()
	a, err := w.ask(payload(question("fine"), w.signed))
	if err != nil || a.text != " You said: fine" {
		w.t.Errorf("after %s: %q, %v", after, a.text, err)
	}
}

// silent checks that nothing has said what it must not.
func (w *world) silent(after string) {
	w.t.Helper()
	for _, out := range []string{w.log.String(), w.steps.String()} {
		if strings.Contains(out, canary) {
			w.t.Errorf("after %s the enclave says %s", after, out)
		}
	}
}

// refused checks that an answer ended with a reason, and nothing but it.
func refused(t *testing.T, name string, err error, want wire.Reason) {
	t.Helper()
	remote, ok := errors.AsType[*session.RemoteError](err)
	if !ok || remote.Code != string(want) || remote.Message != want.Error() {
		t.Errorf("%s: %v; want %s", name, err, want)
	}
}

func question(prompt string) wire.Question {
	return wire.Question{Request: inference.Request{Prompt: prompt}}
}
