package validate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestShellcheck(t *testing.T) {
	shellcheck := tool(t, "shellcheck")
	files := find(t, isScript)
	if out, err := output(t, shellcheck, append([]string{"-S", "style"}, files...)...); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	bad := filepath.Join(t.TempDir(), "bad.sh")
	if err := os.WriteFile(bad, []byte("#!/bin/sh\nrm -rf $1/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := output(t, shellcheck, bad); err == nil {
		t.Errorf("shellcheck finds nothing wrong with a bad script: %s", out)
	}
}

// Every script can be run, stops at the first error and knows unset variables.
func TestScripts(t *testing.T) {
	for _, path := range find(t, isScript) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode()&0o111 == 0 {
			t.Errorf("%s is not executable", path)
		}
		if !strings.Contains(read(t, path), "\nset -euo pipefail\n") {
			t.Errorf("%s does not stop at errors", path)
		}
	}
}
