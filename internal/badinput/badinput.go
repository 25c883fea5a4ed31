// Package badinput runs tables of bad input against a package's exported
// functions and holds the catalogue of what they say, docs/bad-input, to what
// they really say.
//
// Each package has one Table, run by its TestBadInput. A case must end in the
// error that it names: without a panic, without a hang, with a message of one
// line that begins with the package's name and holds nothing of the input that
// is marked as secret. The rows are compared with the package's page in
// docs/bad-input/functions. To write the pages anew:
//
//	BADINPUT=update go test -count=1 -run '^TestBadInput$' ./...
package badinput

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Canary is put where an input is secret, or may be: no message may hold it.
const Canary = "canary-7f3a91c2d4"

// patience is when a case counts as hanging. It is far above what the slowest
// takes, since nothing of a test may depend on the speed of the machine.
const patience = time.Minute

// TB is what a test must offer; *testing.T does. Library packages, of which this
// is one, do not import testing.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Case is one bad input to one function.
type Case struct {
	// Func is the function, "Verify", or method, "NSM.Attest", without the star
	// of the receiver.
	Func string
	// Input says in words what is bad.
	Input string
	// Want is what must come of it.
	Want Outcome
	// Call calls the function and returns its error. The context ends when the
	// case is taken to hang.
	Call func(ctx context.Context) error
	// Varies says that the message differs from run to run or from machine to
	// machine, by a temporary path or the operating system's words, so that the
	// page names the error only.
	Varies bool
}

// Table is the bad input of one package.
type Table struct {
	// Package is its path below the module's, "attest/eif".
	Package string
	// Prefix begins its messages; empty means the last element of Package and a
	// colon.
	Prefix string
	// Cases are the bad inputs, those of one function together.
	Cases []Case
	// NoInput are the functions and methods that take nothing that could be bad.
	NoInput []string
}

// Run runs all cases, one after the other, and compares the package's page.
func (tab Table) Run(t TB) {
	t.Helper()
	if tab.Prefix == "" {
		tab.Prefix = path.Base(tab.Package) + ": "
	}
	var rows []string
	for _, c := range tab.Cases {
		panicked, got := c.run()
		said, complaint := c.Want.judge(got, panicked)
		if complaint == "" && panicked != nil {
			complaint = clean(fmt.Sprint(panicked.value))
		} else if complaint == "" && got != nil {
			complaint = tab.message(c.Want, got.Error())
		}
		if complaint != "" {
			t.Errorf("%s: %s with %s: %s", tab.Package, c.Func, c.Input, complaint)
			continue
		}
		if c.Varies && c.Want.kind == isError {
			said = c.Want.name
		}
		rows = append(rows, row(c.Func, c.Input, said))
	}
	if len(rows) == len(tab.Cases) {
		tab.compare(t, rows)
	}
}

// panicValue is what a call panicked with.
type panicValue struct{ value any }

func (c Case) run() (panicked *panicValue, got error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	type result struct {
		err      error
		panicked *panicValue
	}
	done := make(chan result, 1)
	go func() {
		var r result
		defer func() {
			if v := recover(); v != nil {
				r.panicked = &panicValue{v}
			}
			done <- r
		}()
		r.err = c.Call(ctx)
	}()
	select {
	case r := <-done:
		return r.panicked, r.err
	case <-ctx.Done():
		return nil, errHangs
	}
}

var (
	errHangs = errors.New("it hangs")
	errNotSo = errors.New("not so")
)

// message says what is wrong with the text of an error, "" for nothing.
func (tab Table) message(want Outcome, text string) string {
	if want.kind == isError && !strings.HasPrefix(text, tab.Prefix) && !want.hasPrefix(text) {
		return fmt.Sprintf("the message does not begin with %q: %q", tab.Prefix, text)
	}
	return clean(text)
}

// clean says what is wrong with a text wherever it comes from.
func clean(text string) string {
	switch {
	case strings.Contains(text, Canary):
		return fmt.Sprintf("the message repeats a secret input: %q", text)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return fmt.Sprintf("the message is not one line of text: %q", text)
	case len(text) > 600:
		return fmt.Sprintf("the message has %d bytes", len(text))
	}
	return ""
}

func row(cells ...string) string {
	for i, c := range cells {
		cells[i] = strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(c)
	}
	return "| " + strings.Join(cells, " | ") + " |\n"
}

// compare holds the package's page to the rows.
func (tab Table) compare(t TB, rows []string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return // the pages are those of Linux
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Bad input to %s\n\n", tab.Package)
	fmt.Fprintf(&b, "Each row is a case of TestBadInput in %s/badinput_test.go, which writes this page;\n", tab.Package)
	b.WriteString("[functions.md](../functions.md) says what the columns mean.\n\n")
	b.WriteString("| function | bad input | what it says |\n|---|---|---|\n")
	b.WriteString(strings.Join(rows, ""))
	if len(tab.NoInput) > 0 {
		fmt.Fprintf(&b, "\n%s%s.\n", WithoutInput, strings.Join(tab.NoInput, ", "))
	}
	root, err := moduleRoot()
	if err != nil {
		return // a test that runs without its sources, in a guest, has no pages
	}
	name := filepath.Join(root, "docs", "bad-input", "functions", PageName(tab.Package))
	if os.Getenv("BADINPUT") == "update" {
		if err := os.WriteFile(name, []byte(b.String()), 0o644); err != nil {
			t.Fatalf("%v", err)
		}
		return
	}
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v", err)
	}
	if d := difference(string(page), b.String()); d != "" {
		t.Errorf("%s differs from what the package says:\n%s", name, d)
	}
}

// WithoutInput begins the line of a page that lists functions without input.
const WithoutInput = "Without input that could be bad: "

// PageName is the name of a package's page.
func PageName(pkg string) string { return strings.ReplaceAll(pkg, "/", "-") + ".md" }

// moduleRoot is the folder above the working directory that has a go.mod.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("badinput: no go.mod above the working directory")
		}
		dir = up
	}
}

// difference lists the lines that only one of two texts has.
func difference(was, is string) string {
	if was == is {
		return ""
	}
	var b strings.Builder
	only := func(sign, in, from string) {
		for line := range strings.Lines(in) {
			if !strings.Contains(from, line) {
				b.WriteString(sign + line)
			}
		}
	}
	only("- ", was, is)
	only("+ ", is, was)
	if b.Len() == 0 {
		return "the same lines in another order"
	}
	return b.String()
}

// On is a Case.
func On(function, input string, want Outcome, call func(context.Context) error) Case {
	return Case{Func: function, Input: input, Want: want, Call: call}
}

// Value is a Case of an input to which the documentation gives a meaning, which
// holds where ok returns true.
func Value(function, input, meaning string, ok func() bool) Case {
	return On(function, input, Ignored(meaning), func(context.Context) error {
		if !ok() {
			return errNotSo
		}
		return nil
	})
}

// Vary is c, with a message that is not shown because it varies.
func (c Case) Vary() Case {
	c.Varies = true
	return c
}
