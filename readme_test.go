package nitroseal_test

import (
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// readme is README.md in its parts.
type readme struct {
	blocks []block
	prose  string // everything outside of the blocks
}

// A block is what stands between two lines of three backticks.
type block struct{ language, text string }

func readReadme(t *testing.T) readme {
	t.Helper()
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	fence := regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```\n")
	r := readme{prose: fence.ReplaceAllString(string(data), "")}
	for _, m := range fence.FindAllStringSubmatch(string(data), -1) {
		// A language that nothing here checks would rot unseen.
		if !slices.Contains([]string{"", "sh", "python"}, m[1]) {
			t.Errorf("README.md has a block in %q: let these tests check it", m[1])
		}
		r.blocks = append(r.blocks, block{m[1], m[2]})
	}
	if strings.Contains(r.prose, "```") {
		t.Error("README.md has a block without an end")
	}
	return r
}

// scripts returns the commands of the sh blocks, in order, each on one line.
func (r readme) scripts() (all []string) {
	comment := regexp.MustCompile(`(^|\s+)#.*`)
	for _, b := range r.blocks {
		if b.language != "sh" {
			continue
		}
		text := strings.ReplaceAll(b.text, "|\n", "| ")
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", " ")) {
			line = comment.ReplaceAllString(strings.TrimSpace(line), "")
			if line != "" {
				all = append(all, strings.Join(strings.Fields(line), " "))
			}
		}
	}
	return all
}

// sample returns the output that README.md shows in the block with part in it.
func (r readme) sample(t *testing.T, part string) string {
	t.Helper()
	for _, b := range r.blocks {
		if b.language == "" && strings.Contains(b.text, part) {
			return b.text
		}
	}
	t.Fatalf("README.md shows no output with %q", part)
	return ""
}

// inline returns what README.md has between single backticks.
func (r readme) inline() (all []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(r.prose, -1) {
		all = append(all, strings.Join(strings.Fields(m[1]), " "))
	}
	return all
}

// TestReadmeCommands checks that what README.md tells to type exists: targets of
// the Makefile, commands and flags of the chatbot, programs to run, packages to
// read about.
func TestReadmeCommands(t *testing.T) {
	r := readReadme(t)
	commands := r.scripts()
	if len(commands) < 12 {
		t.Errorf("README.md has %d commands only", len(commands))
	}
	begin := regexp.MustCompile(`^(make|go|aws|chatbot|bin/chatbot) [^:]*$`)
	for _, text := range r.inline() {
		if begin.MatchString(text) {
			commands = append(commands, text)
		}
	}
	for _, b := range r.blocks {
		for _, m := range regexp.MustCompile(`(?m)^\$ (.*)$`).FindAllStringSubmatch(b.text, -1) {
			commands = append(commands, m[1])
		}
	}
	makefile, err := os.ReadFile("Makefile")
	if err != nil {
		t.Fatal(err)
	}
	packages := strings.Fields(goOutput(t, nil, "list", "./..."))
	helps := map[string]string{}
	for _, line := range commands {
		for part := range strings.SplitSeq(line, "| ") {
			words := append(strings.Fields(part), "", "")
			switch words[0] {
			case "make":
				if !regexp.MustCompile(`(?m)^` + words[1] + `:`).Match(makefile) {
					t.Errorf("%q: the Makefile has no target %s", line, words[1])
				}
			case "go":
				path := strings.TrimPrefix(strings.TrimPrefix(words[2], "./"), module)
				if words[1] == "doc" && strings.HasPrefix(words[2], "./") || !slices.Contains(packages, module+path) {
					t.Errorf("%q: there is no package %s", line, words[2])
				}
			case "chatbot", "bin/chatbot":
				checkFlags(t, helps, line, words[1:])
			case "aws":
			default:
				t.Errorf("%q is no command that this test knows", line)
			}
		}
	}
}

// checkFlags asks the chatbot's manual pages about a command line. It knows the
// pages that it has asked for.
func checkFlags(t *testing.T, pages map[string]string, line string, words []string) {
	t.Helper()
	if words[0] == "help" {
		words = words[1:]
	}
	if words[0] == "COMMAND" {
		return
	}
	command := words[:1]
	if word := regexp.MustCompile(`^[a-z]+$`); word.MatchString(words[1]) {
		command = words[:2]
	}
	name := strings.Join(command, " ")
	page, known := pages[name]
	if !known {
		out, err := exec.Command(releaseBinary(t), append([]string{"help"}, command...)...).CombinedOutput()
		if err != nil {
			t.Errorf("%q: %s", line, out)
		}
		page = string(out)
		pages[name] = page
	}
	for _, word := range words[len(command):] {
		flag, isFlag := strings.CutPrefix(strings.TrimRight(word, "`,."), "-")
		if isFlag && flag != "" && !regexp.MustCompile(`(?m)^ +-`+regexp.QuoteMeta(flag)+`( |$)`).MatchString(page) {
			t.Errorf("%q: chatbot %s has no flag -%s", line, name, flag)
		}
	}
}

// TestReadmePaths checks that each file and folder that README.md names exists.
func TestReadmePaths(t *testing.T) {
	r := readReadme(t)
	var paths []string
	for _, m := range regexp.MustCompile(`\]\(([^)#\s]+)[^)\s]*\)`).FindAllStringSubmatch(r.prose, -1) {
		paths = append(paths, m[1])
	}
	links := len(paths)
	for _, text := range r.inline() {
		if regexp.MustCompile(`^[\w.-]+/[\w./-]*$`).MatchString(text) {
			paths = append(paths, text)
		}
	}
	if links < 30 || len(paths) < links+10 {
		t.Errorf("README.md has %d links and %d paths only", links, len(paths)-links)
	}
	for _, path := range paths {
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

// TestReadmePackages checks that the output of "make test" that README.md shows
// names the packages that there are, and those without tests as such. Times
// differ, and so does what the first line says.
func TestReadmePackages(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("README.md shows the packages with tests on Linux")
	}
	shown := strings.TrimSpace(readReadme(t).sample(t, "go test -count=1 ./...\n"))
	_, shown, _ = strings.Cut(shown, "go test -count=1 ./...\n")
	shown = regexp.MustCompile(`(?m)\s+(\d+\.\d+s|\(cached\))$`).ReplaceAllString(shown, "")
	have := lines(strings.TrimSpace(goOutput(t, nil, "list",
		"-f", "{{if or .TestGoFiles .XTestGoFiles}}ok  \t{{.ImportPath}}{{else}}?   \t{{.ImportPath}}\t[no test files]{{end}}", "./...")))
	for _, line := range have {
		if !slices.Contains(lines(shown), line) {
			t.Errorf("README.md lacks the line %q of make test", line)
		}
	}
	for _, line := range lines(shown) {
		if !slices.Contains(have, line) {
			t.Errorf("README.md shows the line %q, which make test does not print", line)
		}
	}
}
