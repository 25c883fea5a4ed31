package validate

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// The commands of the enclave's Dockerfile put a folder together in which the
// program and libllama find all that they are linked to. They are run here as
// they are, with another folder and without Docker.
func TestEnclaveRoot(t *testing.T) {
	if runtime.GOOS+runtime.GOARCH != "linuxamd64" {
		t.Skip("the Dockerfile is for x86_64")
	}
	dir := t.TempDir()
	for _, program := range [][2]string{{"install-libllama", "./inference/llama/install"}, {"chatbot", "./examples/chatbot"}} {
		cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(dir, program[0]), program[1])
		cmd.Dir, cmd.Env = repository, append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	text := strings.ReplaceAll(read(t, deploy+"/docker/enclave.Dockerfile"), "\\\n", " ")
	command := regexp.MustCompile(`(?m)^RUN (install-libllama .*)$`).FindStringSubmatch(text)
	if command == nil {
		t.Fatal("the Dockerfile does not run the installer")
	}
	root := filepath.Join(dir, "root")
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", strings.ReplaceAll(command[1], "/root-of-image", root))
	// Where it is cached already nothing is fetched.
	cmd.Env = append(os.Environ(), "PATH="+dir+":/usr/sbin:/sbin:"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	libraries, err := filepath.Glob(root + "/opt/llama/*.so")
	if err != nil || len(libraries) < 4 {
		t.Fatalf("%q %v", libraries, err)
	}
	needs := regexp.MustCompile(`(?m)^\s*(\S+) => (\S+)`)
	for _, file := range append(libraries, filepath.Join(dir, "chatbot")) {
		out, err := output(t, root+"/lib64/ld-linux-x86-64.so.2", "--inhibit-cache",
			"--library-path", root+"/lib/x86_64-linux-gnu:"+root+"/opt/llama", "--list", file)
		found := needs.FindAllStringSubmatch(out, -1)
		if err != nil || len(found) == 0 {
			t.Errorf("%s: %v: %s", filepath.Base(file), err, out)
		}
		for _, m := range found {
			if !strings.HasPrefix(m[2], root) && !strings.Contains(m[2], "ld-linux") && !strings.HasPrefix(m[1], "linux-vdso") {
				t.Errorf("%s: the image has no %s, but %s", filepath.Base(file), m[1], m[2])
			}
		}
	}
}
