package main

import (
	"bytes"
	"context"
	"io"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// The whole program, with processes, until each kind of client has done what it
// does. That is no soak: growth is not looked at, nor is it waited for
// connections to close.
func TestSoak(t *testing.T) {
	m, err := llama.Open(t.Context(), llama.Options{Model: model.GGUF, Threads: 1, MaxSequences: 1, ContextSize: 256})
	if err != nil {
		t.Skipf("the model does not run here (go run ./inference/llama/install): %v", err)
	}
	m.Close()
	binary := filepath.Join(t.TempDir(), "chatbot")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "..").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s := &settings{chatbot: binary, duration: 2 * time.Second, every: 200 * time.Millisecond, clients: len(kinds), threads: 1, timeout: time.Minute}
	r, err := s.soak(ctx, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if r.tally.wrong != 0 || total(r.tally.failed) != 0 {
		t.Errorf("%d wrong, %v failed: %q", r.tally.wrong, r.tally.failed, r.tally.examples)
	}
	if !r.tally.all() || len(r.tally.keys) != 1 || r.kmsCalls == 0 || r.parent.byCode()["ok"] == 0 {
		t.Errorf("%v answered, %d keys, %d calls of KMS, %v", r.tally.answered, len(r.tally.keys), r.kmsCalls, r.parent.byCode())
	}
	for _, x := range r.trends {
		if x.median <= 0 {
			t.Errorf("%s of %s: %v", x.quantity, x.part, x.median)
		}
	}
	if r.document() == "" {
		t.Error("no report")
	}
}

func TestParse(t *testing.T) {
	for _, args := range [][]string{
		{"x"}, {"-clients", "4"}, {"-clients", "17"}, {"-every", "0"}, {"-duration", "49s"}, {"-threads", "0"},
		{"-timeout", "0"}, {"-settle", "-1s"}, {"-nothing"},
	} {
		var out, errs bytes.Buffer
		if _, err := run(t.Context(), args, &out, &errs); err == nil || out.Len() > 0 {
			t.Errorf("%q: %v, %q", args, err, &out)
		}
	}
}
