package llama_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

func TestOpenDigest(t *testing.T) {
	data, err := os.ReadFile(q8Model)
	if err != nil {
		t.Fatal(err)
	}
	sum256, sum384 := sha256.Sum256(data), sha512.Sum384(data)
	right, right384 := hex.EncodeToString(sum256[:]), hex.EncodeToString(sum384[:])
	wrong := "00" + right[2:]
	if wrong == right {
		wrong = "01" + right[2:]
	}
	type opts = llama.Options
	cases := map[string]struct {
		opts opts
		want error
	}{
		"path":             {opts{ModelPath: q8Model}, nil},
		"path, SHA-256":    {opts{ModelPath: q8Model, Digest: right}, nil},
		"path, SHA-384":    {opts{ModelPath: q8Model, Digest: right384}, nil},
		"path, upper case": {opts{ModelPath: q8Model, Digest: strings.ToUpper(right)}, nil},
		"path, wrong":      {opts{ModelPath: q8Model, Digest: wrong}, llama.ErrDigest},
		"other model":      {opts{ModelPath: f16Model, Digest: right}, llama.ErrDigest},
		"no file":          {opts{ModelPath: "testdata/none.gguf"}, os.ErrNotExist},
		"no library":       {opts{ModelPath: q8Model, LibraryDir: t.TempDir()}, libllama.ErrNotFound},
	}
	if runtime.GOOS == "linux" {
		cases["bytes"] = struct {
			opts opts
			want error
		}{opts{Model: data}, nil}
		cases["bytes, SHA-384"] = struct {
			opts opts
			want error
		}{opts{Model: data, Digest: right384}, nil}
		cases["bytes, wrong"] = struct {
			opts opts
			want error
		}{opts{Model: data[:len(data)-1], Digest: right}, llama.ErrDigest}
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			m, err := llama.Open(t.Context(), tt.opts)
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if err != nil {
				return
			}
			defer m.Close()
			if got := m.Info().Digest; got != right {
				t.Errorf("digest %s", got)
			}
			got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt})
			if err != nil || got.text != deductibleAnswer {
				t.Errorf("%q %v", got.text, err)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := llama.Open(ended, llama.Options{ModelPath: q8Model}); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	garbage := filepath.Join(t.TempDir(), "garbage.gguf")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("GGUF", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if _, err := llama.Open(t.Context(), llama.Options{ModelPath: garbage, Logger: logger}); err == nil {
		t.Error("garbage was loaded")
	}
	if !strings.Contains(log.String(), "libllama") {
		t.Errorf("nothing in the log: %q", log.String())
	}
	for _, opts := range []llama.Options{
		{},
		{ModelPath: q8Model, Model: []byte{1}},
		{ModelPath: q8Model, Digest: "12"},
		{ModelPath: q8Model, Threads: -1},
		{ModelPath: q8Model, MaxSequences: 65},
		{ModelPath: q8Model, BatchSize: 2, MaxSequences: 3},
		{ModelPath: q8Model, ContextSize: -1},
	} {
		if m, err := llama.Open(t.Context(), opts); err == nil || m != nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
}

// TestLogHasNoText looks for a prompt in everything that is logged.
func TestLogHasNoText(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	m := open(t, llama.Options{Logger: logger})
	if log.Len() == 0 {
		t.Error("nothing is logged while loading")
	}
	if _, err := generate(t, m, inference.Request{Prompt: "Question: my username is zorbaquin\nAnswer:"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(log.String(), "zorbaquin") {
		t.Error("the prompt is in the log")
	}
}

func TestInfo(t *testing.T) {
	m := open(t, llama.Options{MaxSequences: 3, ContextSize: 300})
	got := m.Info()
	if got.VocabularySize != 2560 || got.MaxTokens != 512 || got.MaxConcurrent != 3 || got.Parameters == 0 || !strings.HasPrefix(got.Engine, "libllama 0.") {
		t.Errorf("%+v", got)
	}
}
