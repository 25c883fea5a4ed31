package blog_test

import (
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// embedded opens the chatbot's own model.
func embedded(t *testing.T) *llama.Model {
	t.Helper()
	if _, err := libllama.Find(""); err != nil {
		missing(t, err.Error())
	}
	m, err := llama.Open(t.Context(), llama.Options{Model: model.GGUF, Digest: model.Digest, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// With the likeliest tokens the answers are those of the model's makers, whole
// within the default of new tokens.
func TestEmbeddedModelGreedy(t *testing.T) {
	w := newWorld(t, embedded(t), func(o *blog.ServiceOptions) { o.Greedy = true })
	for question, want := range map[string]string{
		"What is my deductible?": "Your individual deductible is $1,500 a year for in-network care.",
		"I can't access my email, my username is jdoe": "Thanks, jdoe. If you cannot get into your email, reset your password at reset.larkfield.example, " +
			"then sign in again. If it still fails, call the help desk at extension 4357.",
	} {
		if printed, err := w.ask(question); err != nil || printed != `{"Results": "`+want+`"}` {
			t.Errorf("%s: %q, %v", question, printed, err)
		}
	}
	// A long question still gets an answer: the prompt does not count.
	long := strings.Repeat("i looked on the intranet. ", 158)[:4096-22] + "what is my deductible?"
	if printed, err := w.ask(long); err != nil || results(t, printed) == "" {
		t.Errorf("%d bytes: %q, %v", len(long), printed, err)
	}
}

// Sampled as in the post, an answer may be another each time; that there is
// one, in its place in the JSON, is what can be said.
func TestEmbeddedModelSampled(t *testing.T) {
	w := newWorld(t, embedded(t), nil)
	var all string
	for range 4 {
		printed, err := w.ask("What is my deductible?")
		if err != nil {
			t.Fatal(err)
		}
		got := results(t, printed)
		if strings.TrimSpace(got) != got {
			t.Errorf("%q has space around it", got)
		}
		all += got
	}
	if all == "" {
		t.Error("four empty answers")
	}
}
