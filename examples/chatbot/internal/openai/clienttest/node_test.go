package clienttest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// missing skips a test for want of a program, or fails it where
// NITROSEAL_REQUIRE_FOREIGN says that everything is installed.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// install returns a new folder with client.mjs and the library that
// package-lock.json pins.
func install(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			missing(t, "no "+program+" on PATH")
		}
	}
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "client.mjs"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	npm := exec.CommandContext(t.Context(), "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		missing(t, "npm ci failed, so there is no library to test with: "+string(out))
	}
	return dir
}

func TestNode(t *testing.T) {
	dir := install(t)
	e, url := listen(t)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	node := exec.CommandContext(ctx, "node", "client.mjs")
	node.Dir = dir
	node.Env = append(os.Environ(), "OPENAI_BASE_URL="+url, "OPENAI_API_KEY="+token, "OPENAI_ORG_ID=", "OPENAI_PROJECT_ID=", "NODE_OPTIONS=")
	out, err := node.CombinedOutput()
	t.Logf("\n%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(out), "ok "); got != 10 {
		t.Errorf("%d checks passed, want 10", got)
	}
	for range 3 {
		e.gone(t)
	}
	if n := e.untrusted.Load(); n != 3 {
		t.Errorf("%d questions to an enclave that is not to be trusted, want 3: the library tried again", n)
	}
}
