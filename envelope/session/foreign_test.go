package session

import (
	"os"
	"os/exec"
	"testing"
)

// TestPythonOpensVectors has another implementation of HPKE and of FORMAT.md
// open the vectors. It needs python3 with the package cryptography.
func TestPythonOpensVectors(t *testing.T) {
	const needs = "python3 with the package cryptography (Debian's python3-cryptography) is not installed"
	if exec.CommandContext(t.Context(), "python3", "-c", "import cryptography").Run() != nil {
		if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
			t.Fatal(needs)
		}
		t.Skip(needs)
	}
	out, err := exec.CommandContext(t.Context(), "python3", "testdata/open.py", vectorFile).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	want := ""
	for _, v := range loadVectors(t).Exchanges {
		if v.KEM == X25519 {
			want += v.Name + "\n"
		}
	}
	if want == "" || string(out) != want {
		t.Errorf("opened %q, want %q", out, want)
	}
}
