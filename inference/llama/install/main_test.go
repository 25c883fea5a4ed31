package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

func TestRun(t *testing.T) {
	var out, errs bytes.Buffer
	if err := run(t.Context(), []string{"-print-dir"}, &out, &errs); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), libllama.PackageVersion) {
		t.Errorf("-print-dir: %q", out.String())
	}
	if err := run(t.Context(), []string{"-nonsense"}, &out, &errs); err == nil {
		t.Error("an unknown flag was accepted")
	}
	t.Setenv(libllama.DirEnv, t.TempDir())
	if err := run(t.Context(), []string{"-check"}, &out, &errs); err == nil || !strings.Contains(err.Error(), "install") {
		t.Errorf("-check without a library: %v", err)
	}
}
