package llama_test

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-llama.md.
func TestBadInput(t *testing.T) {
	m := open(t, llama.Options{ContextSize: 256, MaxSequences: 1})
	embedder := open(t, llama.Options{ContextSize: 256, MaxSequences: 1, Embeddings: true})
	closed, err := llama.Open(t.Context(), llama.Options{ModelPath: q8Model, ContextSize: 256, MaxSequences: 1, Threads: 1, Embeddings: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := closed.Close(); err != nil {
		t.Fatal(err)
	}
	badinput.Table{
		Package: "inference/llama",
		Cases:   append(openCases(t), modelCases(t, m, embedder, closed)...),
		NoInput: []string{"Model.Info", "Model.Stats"},
	}.Run(t)
}

func openCases(t *testing.T) []badinput.Case {
	errOwn := errors.New("own")
	plain := badinput.Plain()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var cases []badinput.Case
	for _, c := range []struct {
		input  string
		want   badinput.Outcome
		varies bool
		change func(*llama.Options)
	}{
		{"no model", plain, false, func(o *llama.Options) { o.ModelPath = "" }},
		{"two models", plain, false, func(o *llama.Options) { o.Model = []byte("x") }},
		{"a path that is not there", badinput.Is("fs.ErrNotExist", fs.ErrNotExist), true, func(o *llama.Options) { o.ModelPath = t.TempDir() + "/no" }},
		{"a path with a NUL", plain, false, func(o *llama.Options) { o.ModelPath = "a\x00b" }},
		{"a path that is a folder", plain, true, func(o *llama.Options) { o.ModelPath = t.TempDir() }},
		{"a model that is none", plain, true, func(o *llama.Options) { o.ModelPath, o.Model = "", []byte(badinput.Canary) }},
		{"a reader that fails", badinput.Is("the reader's error", errOwn), true, func(o *llama.Options) { o.ModelPath, o.ModelReader = "", iotest.ErrReader(errOwn) }},
		{"a reader that gives more than MaxModelBytes", badinput.Is("llama.ErrModelTooLarge", llama.ErrModelTooLarge), false, func(o *llama.Options) {
			o.ModelPath, o.ModelReader, o.MaxModelBytes = "", strings.NewReader(badinput.Canary), 1
		}},
		{"a MaxModelBytes of -1", plain, false, func(o *llama.Options) {
			o.ModelPath, o.ModelReader, o.MaxModelBytes = "", strings.NewReader(badinput.Canary), -1
		}},
		{"another model than Digest says", badinput.Is("llama.ErrDigest", llama.ErrDigest), true, func(o *llama.Options) { o.Digest = strings.Repeat("a", 64) }},
		{"a Digest of 63 digits", plain, false, func(o *llama.Options) { o.Digest = strings.Repeat("a", 63) }},
		{"a LibraryDir that is not there", badinput.Is("libllama.ErrNotFound", libllama.ErrNotFound), true, func(o *llama.Options) { o.LibraryDir = t.TempDir() }},
		{"Threads of -1", plain, false, func(o *llama.Options) { o.Threads = -1 }},
		{"a ContextSize of -1", plain, false, func(o *llama.Options) { o.ContextSize = -1 }},
		{"a ContextSize of 2^40", plain, false, func(o *llama.Options) { o.ContextSize = 1 << 40 }},
		{"MaxSequences of -1", plain, false, func(o *llama.Options) { o.MaxSequences = -1 }},
		{"MaxSequences of 65", plain, false, func(o *llama.Options) { o.MaxSequences = 65 }},
		{"CacheSequences of 65", plain, false, func(o *llama.Options) { o.CacheSequences = 65 }},
		{"a CacheTTL of -1", plain, false, func(o *llama.Options) { o.CacheTTL = -1 }},
		{"MaxNewTokens of -1", plain, false, func(o *llama.Options) { o.MaxNewTokens = -1 }},
		{"a BatchSize of 4,097", plain, false, func(o *llama.Options) { o.BatchSize = 4097 }},
		{"a PrefillChunk of -1", plain, false, func(o *llama.Options) { o.PrefillChunk = -1 }},
		{"an unknown Repack", plain, false, func(o *llama.Options) { o.Repack = 99 }},
		{"a ChatTemplate that nothing knows", plain, false, func(o *llama.Options) { o.ChatTemplate = badinput.Canary + "\x00\n" }},
	} {
		cases = append(cases, badinput.Case{Func: "Open", Input: c.input, Want: c.want, Varies: c.varies, Call: func(ctx context.Context) error {
			opts := llama.Options{ModelPath: q8Model, Threads: 1, ContextSize: 256, MaxSequences: 1}
			c.change(&opts)
			m, err := llama.Open(ctx, opts)
			if err == nil {
				m.Close()
			}
			return err
		}})
	}
	return append(cases, badinput.On("Open", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error {
		m, err := llama.Open(gone, llama.Options{ModelPath: q8Model, Threads: 1})
		if err == nil {
			m.Close()
		}
		return err
	}).Vary())
}

func modelCases(t *testing.T, m, embedder, closed *llama.Model) []badinput.Case {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	run := func(ctx context.Context, m *llama.Model, req inference.Request) error {
		req.MaxTokens = max(req.MaxTokens, 1)
		for _, err := range m.Generate(ctx, req) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	tokenize := func(ctx context.Context, m *llama.Model, text string) error {
		_, err := m.Tokenize(ctx, text)
		return err
	}
	embedded := func(ctx context.Context, m *llama.Model, texts ...string) error {
		_, err := m.Embed(ctx, texts)
		return err
	}
	invalid := badinput.Is("inference.ErrInvalidRequest", inference.ErrInvalidRequest)
	tooLong := badinput.Is("inference.ErrPromptTooLong", inference.ErrPromptTooLong)
	after := badinput.Is("inference.ErrClosed", inference.ErrClosed)
	ended := badinput.Own("context.Canceled", context.Canceled)
	var cases []badinput.Case
	for _, op := range []struct {
		name string
		call func(ctx context.Context, m *llama.Model, text string) error
	}{
		{"Model.Generate", func(ctx context.Context, m *llama.Model, text string) error {
			return run(ctx, m, inference.Request{Prompt: text})
		}},
		{"Model.Tokenize", tokenize},
		{"Model.Embed", func(ctx context.Context, m *llama.Model, text string) error { return embedded(ctx, m, text) }},
	} {
		with := m
		if op.name == "Model.Embed" {
			with = embedder
		}
		cases = append(cases,
			badinput.On(op.name, "text that is not UTF-8", invalid, func(ctx context.Context) error { return op.call(ctx, with, badinput.Canary+"\xff") }),
			badinput.On(op.name, "text over MaxPromptBytes", tooLong, func(ctx context.Context) error {
				return op.call(ctx, with, strings.Repeat("x", inference.MaxPromptBytes+1))
			}),
			badinput.On(op.name, "a context that has ended", ended, func(context.Context) error { return op.call(gone, with, "x") }),
			badinput.On(op.name, "a closed Model", after, func(ctx context.Context) error { return op.call(ctx, closed, "x") }))
		if op.name != "Model.Tokenize" {
			cases = append(cases, badinput.On(op.name, "text longer than the context", tooLong, func(ctx context.Context) error {
				return op.call(ctx, with, strings.Repeat(badinput.Canary+" word ", 300))
			}))
		}
	}
	generate := func(input string, req inference.Request) badinput.Case {
		return badinput.On("Model.Generate", input, invalid, func(ctx context.Context) error { return run(ctx, m, req) })
	}
	return append(cases,
		generate("a request that Validate refuses", inference.Request{Prompt: "x", TopK: -1}),
		generate("a grammar that is none", inference.Request{Prompt: "x", Grammar: badinput.Canary}),
		generate("a schema that is none", inference.Request{Prompt: "x", JSONSchema: badinput.Canary}),
		badinput.On("Model.Embed", "a model without Embeddings", badinput.Is("errors.ErrUnsupported", errors.ErrUnsupported), func(ctx context.Context) error { return embedded(ctx, m, "x") }),
		badinput.On("Model.Embed", "no texts", badinput.Ignored("no vectors"), func(ctx context.Context) error { return embedded(ctx, embedder) }),
		badinput.On("Model.Embed", "an empty text", invalid, func(ctx context.Context) error { return embedded(ctx, embedder, "") }),
		badinput.On("Model.Embed", "2,049 texts", invalid, func(ctx context.Context) error {
			return embedded(ctx, embedder, slices.Repeat([]string{"x"}, 2049)...)
		}),
		badinput.Value("Model.Forget", "an empty scope, an unknown one, a closed Model", "there is nothing to forget", func() bool {
			m.Forget("")
			m.Forget("\x00\xff")
			closed.Forget("x")
			return true
		}),
		badinput.On("Model.Close", "a closed Model", badinput.Ignored("closing twice is fine"), func(context.Context) error { return closed.Close() }),
	)
}
