package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	was := stamped
	t.Cleanup(func() { stamped = was })
	system := " " + runtime.GOOS + "/" + runtime.GOARCH + " " + runtime.Version() + "\n"
	for stamp, want := range map[string]string{"v1.2.3": "chatbot v1.2.3", "": "chatbot " + version()} {
		stamped = stamp
		if code, out, errOut := runArgs(t, "", "version"); code != exitOK || out != want+system || errOut != "" {
			t.Errorf("exit status %d, %q, %q", code, out, errOut)
		}
	}
	if code, _, _ := runArgs(t, "", "version", "now"); code != exitUsage {
		t.Errorf("an operand: exit status %d", code)
	}
}

// TestReleaseSaysVersion builds the program with the linker's flags of a release
// and of the images. -X of a variable that does not exist is no error of the
// linker's.
func TestReleaseSaysVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("links the program")
	}
	flags := map[string]bool{}
	for _, name := range []string{".ci/release", "examples/chatbot/deploy/docker/enclave.Dockerfile", "examples/chatbot/deploy/docker/parent.Dockerfile"} {
		text, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		m := regexp.MustCompile(`go build .*-ldflags="([^"]*)" .*\./examples/chatbot`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s does not build the program", name)
		}
		flags[strings.NewReplacer("$version", "v1.2.3", "$VERSION", "v1.2.3").Replace(string(m[1]))] = true
	}
	if len(flags) != 1 {
		t.Fatalf("release and images differ: %v", flags)
	}
	for ldflags := range flags {
		binary := filepath.Join(t.TempDir(), "chatbot")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags="+ldflags, "-o", binary, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "chatbot v1.2.3 ") {
			t.Errorf("%q: %v, %s", ldflags, err, out)
		}
	}
}
