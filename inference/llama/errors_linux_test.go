package llama_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/llama"
)

// TestABIError opens a library of the future, which would end the process if
// the guard asked for more than its version.
func TestABIError(t *testing.T) {
	// A process loads one library, and the other tests of this one have
	// theirs: a second is not even looked at.
	if os.Getenv(abiChildEnv) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestABIError$", "-test.v")
		cmd.Env = append(os.Environ(), abiChildEnv+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: TestABIError") {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	dir := t.TempDir()
	src, lib := filepath.Join(dir, "stub.c"), filepath.Join(dir, "libllama.so")
	const code = `
void abort(void);
const char *llama_version(void) { return "0.10.0"; }
void llama_context_default_params(void) { abort(); }
void llama_model_default_params(void) { abort(); }
`
	if err := os.WriteFile(src, []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "gcc"
	}
	if out, err := exec.Command(cc, "-shared", "-fPIC", "-nostdlib", "-w", "-o", lib, src).CombinedOutput(); err != nil {
		t.Fatalf("this test builds a library with gcc, or what CC names: %v\n%s", err, out)
	}
	m, err := llama.Open(t.Context(), llama.Options{ModelPath: q8Model, LibraryDir: dir})
	var abi *llama.ABIError
	if !errors.As(err, &abi) || m != nil {
		t.Fatalf("%v, want an ABIError", err)
	}
	if abi.Path != lib || abi.Version != "0.10.0" || abi.Reason != "its version is unknown" {
		t.Errorf("%+v", abi)
	}
	for _, part := range []string{lib, `"0.10.0"`, "known versions: 0.4 to 0.9"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
	// A library that was refused does not stand in the way of another.
	m, err = llama.Open(t.Context(), llama.Options{ModelPath: q8Model})
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
}

// abiChildEnv is set in the process that TestABIError starts.
const abiChildEnv = "NITROSEAL_TEST_ABI_CHILD"
