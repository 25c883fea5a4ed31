package validate

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const (
	operations = repository + "/docs/OPERATIONS.md"
	capacity   = repository + "/docs/CAPACITY.md"
)

// The table of metrics has all that there are, and none that there is not.
func TestMetricsAreDocumented(t *testing.T) {
	family := regexp.MustCompile(`(?m)^# TYPE (\S+) `)
	var have []string
	for _, m := range family.FindAllStringSubmatch(exposition(t), -1) {
		have = append(have, m[1])
	}
	if len(have) < 15 {
		t.Fatalf("the parent has %q", have)
	}
	name := regexp.MustCompile(`nitroseal_parent_[a-z_]+[a-z]`)
	for _, file := range []string{operations, capacity} {
		told := name.FindAllString(read(t, file), -1)
		for _, n := range told {
			if !slices.Contains(have, n) {
				t.Errorf("%s: the parent has no metric %s", file, n)
			}
		}
		for _, n := range have {
			if file == operations && !slices.Contains(told, n) {
				t.Errorf("%s does not tell of %s", file, n)
			}
		}
	}
}

// The table of reasons has all that there are, in their own words.
func TestReasonsAreDocumented(t *testing.T) {
	text := read(t, operations)
	code := regexp.MustCompile(`(?m)^\s+Reason\w+\s+Reason = "(\w+)"$`)
	all := code.FindAllStringSubmatch(read(t, repository+"/examples/chatbot/internal/wire/reason.go"), -1)
	if len(all) < 15 {
		t.Fatalf("%d reasons are found", len(all))
	}
	for _, m := range all {
		if row := "\n| `" + m[1] + "` | " + wire.Reason(m[1]).Error() + " | "; !strings.Contains(text, row) {
			t.Errorf("there is no row %q", row)
		}
	}
}

// foreign are messages in the tables that are not of this repository.
var foreign = regexp.MustCompile("^`(E\\d\\d`|Could not re-online|/dev/nitro_enclaves|Permission denied|operation not permitted)")

// Each message of the tables is one that the program or a script prints.
func TestMessagesAreReal(t *testing.T) {
	source := sources(t)
	text := read(t, operations)
	_, text, ok := strings.Cut(text, "\n## Troubleshooting\n")
	if !ok {
		t.Fatal("there is no troubleshooting")
	}
	quoted := regexp.MustCompile("`([^`]+)`")
	rows, checked := 0, 0
	for line := range strings.Lines(text) {
		cell, isRow := strings.CutPrefix(line, "| `")
		if !isRow {
			continue
		}
		rows++
		cell, _, _ = strings.Cut("`"+cell, " | ")
		if foreign.MatchString(cell) {
			continue
		}
		// Parts that differ from time to time are left out, and what the
		// system adds is not ours.
		for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
			for part := range strings.SplitSeq(m[1], "…") {
				if part = strings.Trim(part, " :"); part != "address already in use" && !strings.Contains(source, part) {
					t.Errorf("nothing here says %q", part)
				}
				checked++
			}
		}
	}
	if rows < 40 || checked < 40 {
		t.Errorf("%d rows and %d messages", rows, checked)
	}
}

// sources is the text of the program, its packages and the scripts, with what is
// in the place of values left out.
func sources(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range []string{"attest", "envelope", "inference", "vsockrpc", "examples/chatbot"} {
		err := filepath.WalkDir(filepath.Join(repository, dir), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() && d.Name() == "node_modules" {
				return errorOr(err, fs.SkipDir)
			}
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".sh") {
				data, err := os.ReadFile(path)
				b.Write(data)
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return regexp.MustCompile(`\$\{?\w+\}?`).ReplaceAllString(b.String(), "nitroseal-chatbot")
}

func errorOr(err, or error) error {
	if err != nil {
		return err
	}
	return or
}

// Each file that a document links to is there, and each heading.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#\s]*)(#[^)\s]+)?\)`)
	files := append(find(t, withSuffix("README.md")), operations, capacity)
	for _, file := range files {
		text := read(t, file)
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			to := file
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(file), m[1])
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: %v", file, err)
				continue
			}
			if m[2] != "" && !slices.Contains(anchors(read(t, to)), m[2]) {
				t.Errorf("%s: %s has no heading %s", file, to, m[2])
			}
		}
	}
}

// anchors are the headings of a Markdown text, as links name them.
func anchors(text string) (all []string) {
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(text, -1) {
		name := strings.ReplaceAll(strings.ToLower(m[1]), " ", "-")
		all = append(all, "#"+regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(name, ""))
	}
	return all
}

// Both documents say what was not tried.
func TestHonesty(t *testing.T) {
	for _, file := range []string{operations, capacity, deploy + "/README.md"} {
		text := strings.Join(strings.Fields(read(t, file)), " ")
		if !regexp.MustCompile(`(?i)nothing (here|on this page) was (run|measured) on AWS or (on|in a) Nitro`).MatchString(text) {
			t.Errorf("%s does not say that nothing was tried on Nitro hardware", file)
		}
	}
}
