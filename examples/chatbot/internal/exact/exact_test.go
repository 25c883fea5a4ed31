package exact

import (
	"errors"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// said is an answer in pieces, with an error at its end unless that is nil.
func said(err error, pieces ...string) func(func(ask.Chunk, error) bool) {
	return func(yield func(ask.Chunk, error) bool) {
		for _, p := range pieces {
			if !yield(ask.Chunk{Chunk: inference.Chunk{Text: p}}, nil) {
				return
			}
		}
		if err != nil {
			yield(ask.Chunk{}, err)
		}
	}
}

func TestReceive(t *testing.T) {
	const want = "Thanks, jdoe."
	for name, tt := range map[string]struct {
		answer func(func(ask.Chunk, error) bool)
		wrong  bool
		err    error
	}{
		"whole":                    {said(nil, " Thanks", ", jdoe."), false, nil},
		"another's":                {said(nil, " Thanks, ", "asmith."), true, nil},
		"cut without an error":     {said(nil, " Thanks"), true, nil},
		"nothing":                  {said(nil), true, nil},
		"more than all":            {said(nil, " Thanks, jdoe.", " Bye."), true, nil},
		"cut with an error":        {said(wire.ReasonDeadline, " Thanks"), false, wire.ReasonDeadline},
		"an error at once":         {said(wire.ReasonDeadline), false, wire.ReasonDeadline},
		"another's, with an error": {said(wire.ReasonDeadline, " Thanks, as"), true, nil},
	} {
		err := Receive(tt.answer, want, nil)
		if _, wrong := errors.AsType[*WrongError](err); wrong != tt.wrong || !tt.wrong && !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	calls := 0
	Receive(said(nil, "", "a", "b"), "ab", func(*ask.Chunk) { calls++ })
	if calls != 3 {
		t.Errorf("%d chunks of 3 were told of", calls)
	}
}
