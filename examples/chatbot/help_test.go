package main

import (
	"flag"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// everyCommand calls f for each command and group.
func everyCommand(t *testing.T, f func(t *testing.T, path string, c command)) {
	root().walk("", func(path string, c command) {
		t.Run(join("chatbot", path), func(t *testing.T) { f(t, path, c) })
	})
}

// TestPages: every page has every section, in order, and fits a terminal.
func TestPages(t *testing.T) {
	seen := map[string]bool{}
	everyCommand(t, func(t *testing.T, path string, c command) {
		seen[path] = true
		code, out, errOut := runArgs(t, "", append(strings.Fields(path), "-h")...)
		if code != exitOK || errOut != "" {
			t.Fatalf("exit status %d, %q", code, errOut)
		}
		if code, help, _ := runArgs(t, "", append([]string{"help"}, strings.Fields(path)...)...); code != exitOK || help != out {
			t.Errorf("chatbot help: exit status %d, %q", code, help)
		}
		var sections []string
		for l := range strings.Lines(out) {
			l = strings.TrimSuffix(l, "\n")
			if n := utf8.RuneCountInString(l); n > lineWidth {
				t.Errorf("%d columns: %q", n, l)
			}
			if strings.Contains(l, "\t") || strings.HasSuffix(l, " ") {
				t.Errorf("a tab, or a space at the end: %q", l)
			}
			if l != "" && l[0] != ' ' {
				sections = append(sections, l)
			}
		}
		want := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "FLAGS", "FILES", "ENVIRONMENT", "EXIT STATUS", "EXAMPLES", "SEE ALSO"}
		if c.subs != nil {
			want[3] = "COMMANDS"
		}
		if !slices.Equal(sections, want) {
			t.Errorf("sections %q", sections)
		}
		if strings.Contains(out, "\n\n\n") {
			t.Errorf("an empty section:\n%s", out)
		}
		m := manuals[path]
		if m.summary == "" || strings.HasSuffix(m.summary, ".") || len(m.examples) == 0 || len(m.seeAlso) == 0 {
			t.Errorf("no summary, or one with a full stop, or no examples: %+v", m)
		}
		for _, name := range m.seeAlso {
			if _, ok := manuals[name]; !ok {
				t.Errorf("there is no %q to see", name)
			}
		}
		if fs := c.flagSet(); fs != nil {
			fs.VisitAll(func(f *flag.Flag) {
				if f.Usage == "" || !strings.Contains(out, "\n    -"+f.Name) {
					t.Errorf("-%s is not explained", f.Name)
				}
			})
		}
	})
	for path := range manuals {
		if !seen[path] {
			t.Errorf("a manual of %q, which does not exist", path)
		}
	}
}

func TestHelpAll(t *testing.T) {
	code, out, errOut := runArgs(t, "", "help", "-all")
	if code != exitOK || errOut != "" {
		t.Fatalf("exit status %d, %q", code, errOut)
	}
	if n := strings.Count(out, "\nSYNOPSIS\n"); n != len(manuals) {
		t.Errorf("%d pages of %d", n, len(manuals))
	}
}

// TestErrorsAreShort: who mistypes a flag is told that, and not a whole page.
func TestErrorsAreShort(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"policy", "key", "-clinet", "x"}, "not defined: -clinet"},
		{[]string{"policy", "key", "-mode", "x", "-admin", "a", "-client", "c"}, `-mode is "x"`},
		{[]string{"policy", "lint"}, "an argument is missing: POLICY_FILE|-"},
		{[]string{"policy", "lint", "a", "b"}, `unexpected argument "b"`},
		{[]string{"help", "policy", "nothing"}, `no command "policy nothing"`},
		{[]string{"help", "-all", "policy"}, "-all takes no command"},
		{[]string{"completion", "tcsh"}, "bash|zsh|fish"},
		{[]string{"policy", "nothing"}, `chatbot policy: there is no command "nothing"`},
	} {
		code, out, errOut := runArgs(t, "", tt.args...)
		if code != exitUsage || out != "" || !strings.Contains(errOut, tt.want) || strings.Count(errOut, "\n") > 12 || !strings.Contains(errOut, " -h ") {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, code, out, errOut)
		}
	}
}

// TestParseOperands: flags may stand before and after arguments, until "--".
func TestParseOperands(t *testing.T) {
	for _, tt := range []struct {
		args string
		want string
		v    bool
	}{
		{"a -v b", "a b", true}, {"-v a b", "a b", true}, {"a b -v=false", "a b", false}, {"a -- -v", "a -v", false},
		{"-- a b", "a b", false}, {"-- -v -v", "-v -v", false}, {"-n -- a b", "a b", false}, {"- a", "- a", false},
	} {
		fs := newFlags("verify", "x", streams{nil, io.Discard, io.Discard})
		v := fs.Bool("v", false, "")
		fs.String("n", "", "")
		got, err := parseOperands(fs, strings.Fields(tt.args), streams{nil, io.Discard, io.Discard}, 2, 2)
		if err != nil || strings.Join(got, " ") != tt.want || *v != tt.v {
			t.Errorf("%q: %q, %v, %v", tt.args, got, *v, err)
		}
	}
}

var inShell = regexp.MustCompile(`<\(([^)]*)\)`)

// TestExamples parses every example of every page with the flags of the command
// that it calls: they exist, have values of their kind, and none is missing.
func TestExamples(t *testing.T) {
	values := map[string]string{
		"PCR0": strings.Repeat("0a", 48), "PCR8": strings.Repeat("0b", 48), "SHA256": strings.Repeat("0c", 32),
		"ADMIN_ARN": "arn:aws:iam::111122223333:role/a", "CLIENT_ARN": "arn:aws:iam::111122223333:role/c", "KEY_ARN": "arn:aws:kms:us-east-1:111122223333:key/1",
	}
	parsed := 0
	everyCommand(t, func(t *testing.T, path string, _ command) {
		own := false
		for _, e := range manuals[path].examples {
			call := inShell.ReplaceAllString(strings.ReplaceAll(e.call, "\\\n", " "), "| $1")
			for _, part := range strings.FieldsFunc(call, func(r rune) bool { return r == '\n' || r == '|' }) {
				words := shellWords(t, os.Expand(part, func(name string) string {
					if values[name] == "" {
						t.Errorf("no value for $%s", name)
					}
					return values[name]
				}))
				if len(words) == 0 || words[0] != "chatbot" {
					continue
				}
				parsed++
				c, at := root(), ""
				words = words[1:]
				for c.subs != nil && len(words) > 0 {
					sub, ok := c.sub(words[0])
					if !ok {
						t.Fatalf("%q: no command %q", part, words[0])
					}
					c, at, words = sub, join(at, words[0]), words[1:]
				}
				own = own || at == path || strings.HasPrefix(at, path+" ") || path == ""
				fs := c.flagSet()
				var said strings.Builder
				fs.SetOutput(&said)
				operands, err := parseOperands(fs, words, streams{nil, &said, &said}, 0, 9)
				if err != nil || len(operands) > 0 && manuals[at].operands == "" {
					t.Errorf("%q: %v, %s, arguments %q", part, err, &said, operands)
				}
				given := map[string]bool{}
				fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
				fs.VisitAll(func(f *flag.Flag) {
					if required(f.Usage) && !given[f.Name] {
						t.Errorf("%q: without -%s", part, f.Name)
					}
				})
			}
		}
		if !own {
			t.Error("no example calls the command")
		}
	})
	if parsed < len(manuals) {
		t.Errorf("%d calls parsed", parsed)
	}
}

// shellWords takes a simple command apart, without its redirections.
func shellWords(t *testing.T, s string) (words []string) {
	t.Helper()
	word, in, quote := "", false, rune(0)
	for _, r := range s + " " {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote, in = r, true
		case quote == 0 && r == ' ':
			if in && word[:min(1, len(word))] != ">" {
				words = append(words, word)
			}
			word, in = "", false
		default:
			word, in = word+string(r), true
		}
	}
	if quote != 0 {
		t.Errorf("a quote is open in %q", s)
	}
	return words
}

// TestText wraps what authors wrote.
func TestText(t *testing.T) {
	x := &text{}
	x.prose(4, "\none two\nthree\n\n  list  kept\n\ttab\n"+strings.Repeat("word ", 30)+"\n")
	want := "    one two three\n\n      list  kept\n        tab\n    " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n    " + strings.TrimSpace(strings.Repeat("word ", 15)) + "\n"
	if x.String() != want {
		t.Errorf("%q", x)
	}
	x = &text{}
	x.entries([]entry{{"a", strings.Repeat("word ", 20)}, {"long", "b"}}, "none")
	want = "    a     " + strings.TrimSpace(strings.Repeat("word ", 14)) + "\n          " + strings.TrimSpace(strings.Repeat("word ", 6)) + "\n    long  b\n"
	if x.String() != want {
		t.Errorf("%q, want %q", x, want)
	}
}
