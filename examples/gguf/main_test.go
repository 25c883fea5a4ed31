package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

const model = "../chatbot/model/larkfield-bloom-q8_0.gguf"

func TestShow(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"show", model}, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Fatalf("exit status %d, %s", code, &errOut)
	}
	for _, want := range []string{
		"GGUF version 3, 28 pairs, 77 tensors\n", `"Larkfield BLOOM demo 3M"` + "\n", "2560 × string, first \"[<unk> <s> </s>]\"\n",
		"bloom.embedding_length                   192\n", `"token_embd.weight"                      q8_0  [192 2560]` + "\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("without %q:\n%s", want, &out)
		}
	}
}

// TestShowControl shows a file whose text would clear the screen.
func TestShowControl(t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.gguf")
	var file bytes.Buffer
	clear := "\x1b[2J"
	tensor := gguf.Source{Tensor: gguf.Tensor{Name: clear, Dims: []uint64{1}}, Data: strings.NewReader("1234")}
	if err := gguf.Write(&file, gguf.Metadata{{Key: "a", Value: clear}, {Key: "b", Value: []string{clear}}}, []gguf.Source{tensor}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"show", path}, &out, &errOut); code != 0 || strings.Contains(out.String(), "\x1b") || strings.Count(out.String(), `\x1b[2J`) != 3 {
		t.Errorf("exit status %d, %s%q", code, &errOut, &out)
	}
}

func TestConvert(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.gguf")
	args := []string{"convert", "-type", "f16", "-name", "tiny", "testdata/tiny", path}
	var out, errOut bytes.Buffer
	if code := run(t.Context(), args, &out, &errOut); code != 0 || !strings.Contains(errOut.String(), "\r100% of ") || out.Len() > 0 {
		t.Fatalf("exit status %d, %s", code, &errOut)
	}
	if code := run(t.Context(), []string{"show", path}, &out, &errOut); code != 0 || !strings.Contains(out.String(), `"tiny"`) || !strings.Contains(out.String(), `"token_embd.weight"                      f16 `) {
		t.Errorf("exit status %d, %s", code, &out)
	}
	// What fails leaves nothing, and what was there stays.
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if code := run(ended, args, &out, &errOut); code != 1 {
		t.Errorf("exit status %d", code)
	}
	after, err := os.ReadFile(path)
	entries, _ := os.ReadDir(dir)
	if err != nil || !bytes.Equal(before, after) || len(entries) != 1 {
		t.Errorf("%v, %d files", err, len(entries))
	}
}

func TestRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.gguf")
	for _, tt := range []struct {
		args []string
		want int
	}{
		{nil, 2}, {[]string{"show"}, 2}, {[]string{"show", "a", "b"}, 2}, {[]string{"-h"}, 2}, {[]string{"convert", "a"}, 2},
		{[]string{"convert", "-type", "q4_0", "testdata/tiny", out}, 2}, {[]string{"convert", "-x", "testdata/tiny", out}, 2},
		{[]string{"convert", "-type", "f32", "testdata/tiny", out}, 0}, {[]string{"convert", "testdata/tiny", out}, 0},
		{[]string{"show", "none"}, 1}, {[]string{"show", "main.go"}, 1}, {[]string{"convert", "none", out}, 1},
		{[]string{"convert", "testdata/tiny", "none/out.gguf"}, 1},
	} {
		var out, errOut bytes.Buffer
		if got := run(t.Context(), tt.args, &out, &errOut); got != tt.want || got == 2 && !strings.HasPrefix(errOut.String(), "usage: ") {
			t.Errorf("%q: exit status %d, %s", tt.args, got, &errOut)
		}
	}
}
