package nitroseal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestSecurityNamesTests holds SECURITY.md to its word: each test that it names
// exists, and each row of its table names one.
func TestSecurityNamesTests(t *testing.T) {
	security, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range declared.FindAllSubmatch(source, -1) {
			exists[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
	found := 0
	for _, m := range named.FindAllSubmatch(security, -1) {
		found++
		if name := string(m[1]); !exists[name] {
			t.Errorf("SECURITY.md names %s, which does not exist", name)
		}
	}
	if found < 20 {
		t.Errorf("SECURITY.md names %d tests only", found)
	}
	_, table, _ := strings.Cut(string(security), "\n## What is protected")
	_, table, _ = strings.Cut(table, "| --- | --- | --- |\n")
	table, _, _ = strings.Cut(table, "\n\n")
	rows := 0
	for row := range strings.Lines(table) {
		rows++
		if !named.MatchString(row) {
			t.Errorf("no test is named in %q", row)
		}
	}
	if rows < 20 {
		t.Errorf("the table of what is protected has %d rows only", rows)
	}
}
