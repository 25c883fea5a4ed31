package nitroseal_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/deps.txt, testdata/api.txt and THIRD_PARTY_LICENSES anew")

// maxBinary is the most bytes that the released binary may have: what it had
// when this was written, and a tenth. Whoever raises it says why.
const maxBinary = 18_750_000

// releaseEnv is the environment of released builds, as .ci/release sets it, for
// an architecture.
func releaseEnv(arch string) []string {
	return append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOFLAGS=-trimpath")
}

// goOutput runs the go command and returns what it prints.
func goOutput(t *testing.T, env []string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = env
	var problems strings.Builder
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, problems.String())
	}
	return string(out)
}

// compareFile holds text to the one that is checked in, which -update writes.
func compareFile(t *testing.T, name, text, why string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if text == string(want) {
		return
	}
	was, is := lines(string(want)), lines(text)
	for _, l := range was {
		if !slices.Contains(is, l) {
			t.Errorf("- %s", l)
		}
	}
	for _, l := range is {
		if !slices.Contains(was, l) {
			t.Errorf("+ %s", l)
		}
	}
	t.Errorf("%s is not current: %s\ngo test -run %s -update . writes it", name, why, t.Name())
}

func lines(s string) []string {
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// linkedModules returns path and version of what is linked into the released
// binary on either architecture, sorted. What replaces a module shows.
func linkedModules(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, arch := range []string{"amd64", "arm64"} {
		out := goOutput(t, releaseEnv(arch), "list", "-deps",
			"-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{with .Replace}} => {{.Path}} {{.Version}}{{end}}{{end}}{{end}}", "./examples/chatbot")
		list = append(list, strings.FieldsFunc(out, func(r rune) bool { return r == '\n' })...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestLinkedModules holds what is linked into the enclave's binary to a list: a
// module that comes, goes or changes its version is seen in review. A module
// that is linked has its reason in SUPPLY-CHAIN.md.
func TestLinkedModules(t *testing.T) {
	list := linkedModules(t)
	compareFile(t, "testdata/deps.txt", strings.Join(list, "\n")+"\n", "the enclave trusts other modules now; SUPPLY-CHAIN.md must say why")

	doc, err := os.ReadFile("docs/SUPPLY-CHAIN.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| module | why it is linked |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	reasons := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\| \\S.*\\|$").FindAllStringSubmatch(table, -1) {
		reasons[m[1]] = true
	}
	for _, line := range list {
		path, _, _ := strings.Cut(line, " ")
		if !reasons[path] {
			t.Errorf("SUPPLY-CHAIN.md does not say why %s is linked", path)
		}
		delete(reasons, path)
	}
	for path := range reasons {
		t.Errorf("SUPPLY-CHAIN.md gives a reason for %s, which is not linked", path)
	}
}

// releaseBinary builds the released binary for this machine's architecture,
// once for all tests, and returns its name.
func releaseBinary(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the release's binary")
	}
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("nothing is released for " + runtime.GOARCH)
	}
	if err := buildRelease(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(releaseDir, "chatbot")
}

// releaseDir is where the binary of the tests is, and is removed by TestMain.
var releaseDir string

var buildRelease = sync.OnceValue(func() error {
	var err error
	if releaseDir, err = os.MkdirTemp("", "nitroseal-release-"); err != nil {
		return err
	}
	cmd := exec.Command("go", "build", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", filepath.Join(releaseDir, "chatbot"), "./examples/chatbot")
	cmd.Env = releaseEnv(runtime.GOARCH)
	cmd.Stderr = os.Stderr
	return cmd.Run()
})

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if releaseDir != "" {
		os.RemoveAll(releaseDir)
	}
	os.Exit(code)
}

// TestBinarySize bounds the binary: it is what the enclave's memory holds twice,
// as a file and as a program, and what a reviewer of a new dependency asks about.
func TestBinarySize(t *testing.T) {
	info, err := os.Stat(releaseBinary(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes of %d", info.Size(), maxBinary)
	if info.Size() > maxBinary {
		t.Errorf("the binary has %d bytes, more than %d", info.Size(), maxBinary)
	}
	if info.Size() < maxBinary*3/4 {
		t.Errorf("the binary has %d bytes: lower the limit of %d, so that it still limits something", info.Size(), maxBinary)
	}
}

// TestReleaseFlags holds three builds together: the release, the one inside the
// image and the one of these tests must be the same.
func TestReleaseFlags(t *testing.T) {
	for _, name := range []string{".ci/release", "examples/chatbot/deploy/docker/enclave.Dockerfile", "examples/chatbot/deploy/docker/parent.Dockerfile"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"-s -w -buildid= -X main.stamped=$", "CGO_ENABLED=0", "GOFLAGS=-trimpath", "./examples/chatbot"} {
			if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q", name, want)
			}
		}
	}
}

// TestWorkflows checks that workflows run only actions that are pinned by a
// commit, start without permissions, and leave no token on the disk.
func TestWorkflows(t *testing.T) {
	names, err := filepath.Glob(".github/workflows/*.yml")
	if err != nil || len(names) == 0 {
		t.Fatalf("no workflows: %v", err)
	}
	pinned := regexp.MustCompile(`^\s*(- )?uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text := string(data)
		for _, line := range lines(text) {
			if strings.Contains(line, "uses:") && !pinned.MatchString(line) {
				t.Errorf("%s: %q is not pinned", name, line)
			}
			if strings.Contains(line, "run:") && strings.Contains(line, "${{") {
				t.Errorf("%s: %q puts an expression into a script", name, line)
			}
		}
		if !strings.Contains(text, "\npermissions: {}\n") {
			t.Errorf("%s does not begin without permissions", name)
		}
		if strings.Count(text, "actions/checkout@") != strings.Count(text, "persist-credentials: false") {
			t.Errorf("%s leaves a token in the checkout", name)
		}
	}
}
