package nitroseal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInputCatalogue holds docs/bad-input to testdata/api.txt: each exported
// function and method has a row, or stands among those without input, on its
// package's page, no page has one that is gone, and functions.md leads to each
// page. What the rows say is held by TestBadInput of each package.
func TestBadInputCatalogue(t *testing.T) {
	index, err := os.ReadFile("docs/bad-input/functions.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]bool{}
	for pkg, functions := range apiFunctions(t) {
		name := badinput.PageName(pkg)
		pages[name] = true
		page, err := os.ReadFile(filepath.Join("docs/bad-input/functions", name))
		if err != nil {
			t.Errorf("%s has no page: %v", pkg, err)
			continue
		}
		if !strings.Contains(string(index), "(functions/"+name+")") {
			t.Errorf("functions.md does not lead to %s", name)
		}
		listed := functionsOf(string(page))
		for _, f := range functions {
			if !slices.Contains(listed, f) {
				t.Errorf("%s: %s is neither in a row nor among those without input", name, f)
			}
		}
		for _, f := range listed {
			if !slices.Contains(functions, f) {
				t.Errorf("%s: %s is no exported function of %s", name, f, pkg)
			}
		}
	}
	files, err := os.ReadDir("docs/bad-input/functions")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !pages[f.Name()] {
			t.Errorf("%s is the page of no package", f.Name())
		}
	}
}

var apiFunction = regexp.MustCompile(`^pkg (\S+), (?:func (\w+)|method \(\*?(\w+)\) (\w+))`)

// apiFunctions lists the functions of testdata/api.txt, by package: "Verify",
// and methods as "NSM.Attest".
func apiFunctions(t *testing.T) map[string][]string {
	t.Helper()
	api, err := os.ReadFile("testdata/api.txt")
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string][]string{}
	for line := range strings.Lines(string(api)) {
		m := apiFunction.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		name := m[2]
		if name == "" {
			name = m[3] + "." + m[4]
		}
		functions[m[1]] = append(functions[m[1]], name)
	}
	if len(functions) < 10 {
		t.Fatalf("api.txt has functions of %d packages, there are more", len(functions))
	}
	return functions
}

var parenthesis = regexp.MustCompile(` \([^)]*\)`)

// functionsOf lists the functions that a page names, each once.
func functionsOf(page string) []string {
	var list []string
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if cells := strings.Split(line, " | "); len(cells) > 2 && cells[0] != "| function" {
			list = append(list, strings.TrimPrefix(cells[0], "| "))
		}
		if rest, ok := strings.CutPrefix(line, badinput.WithoutInput); ok {
			rest = parenthesis.ReplaceAllString(strings.TrimSuffix(rest, "."), "")
			list = append(list, strings.Split(rest, ", ")...)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}
