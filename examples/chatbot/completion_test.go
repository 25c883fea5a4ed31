package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completionScript writes the script for a shell to a file.
func completionScript(t *testing.T, shell string) string {
	t.Helper()
	code, out, errOut := runArgs(t, "", "completion", shell)
	if code != exitOK || errOut != "" {
		t.Fatalf("exit status %d, %q", code, errOut)
	}
	path := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(path, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// needShell finds a shell, or skips.
func needShell(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here", name)
	}
	return path
}

// TestBashCompletion has bash itself complete, in a folder with two files and a
// folder.
func TestBashCompletion(t *testing.T) {
	bash, script := needShell(t, "bash"), completionScript(t, "bash")
	dir := t.TempDir()
	for _, name := range []string{"policy one.json", "policy*.json"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "polder"), 0o700); err != nil {
		t.Fatal(err)
	}
	complete := func(words ...string) []string {
		t.Helper()
		const call = `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _chatbot; printf '%s\n' "${COMPREPLY[@]}"`
		cmd := exec.Command(bash, append([]string{"--norc", "--noprofile", "-u", "-c", call, "bash", script, "chatbot"}, words...)...)
		cmd.Dir, cmd.Env = dir, []string{"LC_ALL=C"}
		var errOut bytes.Buffer
		cmd.Stderr = &errOut
		out, err := cmd.Output()
		if err != nil || errOut.Len() > 0 {
			t.Fatalf("%q: %v, %s", words, err, &errOut)
		}
		list := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
		slices.Sort(list)
		return slices.DeleteFunc(list, func(s string) bool { return s == "" })
	}
	files := []string{"polder", "policy one.json", "policy*.json"}
	for _, tt := range []struct {
		words string // the last is completed
		want  []string
	}{
		{"pol", []string{"policy"}},
		{"policy ", []string{"emit", "key", "lint", "show"}},
		{"policy e", []string{"emit"}},
		{"policy emit ", nil},
		{"policy emit -par", []string{"-parent-instance", "-parent-role"}},
		{"policy emit --parent-r", []string{"-parent-role"}},
		{"policy emit -measurements pol", files},
		{"policy emit --measurements pol", files},
		{"policy emit -measurements = pol", files},
		{"policy emit -max-age pol", nil},
		{"policy emit -allow-debug -o pol", files},
		{"policy lint pol", files},
		{"policy lint -strict pol", files},
		{"policy lint -js", []string{"-json"}},
		{"policy key -mode ", []string{"blog", "sealed"}},
		{"policy key -mode =", []string{"blog", "sealed"}},
		{"eif build -arch a", []string{"arm64"}},
		{"completion ", []string{"bash", "fish", "zsh"}},
		{"help pol", []string{"policy"}},
		{"help -a", []string{"-all"}},
		{"model sh", []string{"show"}},
		{"model convert -from pol", []string{"polder"}},
		{"verify -roots pol", files},
		{"verify pol", files},
		{"nothing -", nil},
	} {
		if got := complete(strings.Split(tt.words, " ")...); !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.words, got, tt.want)
		}
	}
	// Of every command, every flag, and at the beginning every command.
	everyCommand(t, func(t *testing.T, path string, c command) {
		words := strings.Fields(path)
		if c.subs != nil {
			var want []string
			for _, sub := range c.subs {
				want = append(want, sub.name)
			}
			slices.Sort(want)
			if got := complete(append(words, "")...); !slices.Equal(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
		}
		want := []string{}
		for _, f := range completionsOf(c)[0].flags {
			want = append(want, "-"+f.name)
		}
		slices.Sort(want)
		if got := complete(append(words, "-")...); !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// TestOtherShells lets zsh and fish check the form, and fish complete.
func TestOtherShells(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		t.Run(shell, func(t *testing.T) {
			path, script := needShell(t, shell), completionScript(t, shell)
			if out, err := exec.Command(path, "-n", script).CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v, %s", err, out)
			}
		})
	}
}

func TestFishCompletion(t *testing.T) {
	fish, script := needShell(t, "fish"), completionScript(t, "fish")
	for line, want := range map[string][]string{
		"chatbot pol":                {"policy"},
		"chatbot policy ":            {"emit", "key", "lint", "show"},
		"chatbot policy emit -par":   {"-parent-instance", "-parent-role"},
		"chatbot policy key -mode ":  {"blog", "sealed"},
		"chatbot completion ":        {"bash", "fish", "zsh"},
		"chatbot model convert -fro": {"-from"},
	} {
		cmd := exec.Command(fish, "--no-config", "-c", `source $argv[1]; complete -C $argv[2]`, script, line)
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "HOME="+cmd.Dir, "XDG_DATA_HOME="+cmd.Dir, "XDG_CONFIG_HOME="+cmd.Dir)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for l := range strings.Lines(string(out)) {
			word, _, _ := strings.Cut(strings.TrimSpace(l), "\t")
			got = append(got, word)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestAlternatives(t *testing.T) {
	for s, want := range map[string][]string{"a|b": {"a", "b"}, "x86_64|arm64": {"x86_64", "arm64"}, "FILE|ADDR": nil, "FILE|-": nil, "a": nil, "": nil} {
		if got := alternatives(s); !slices.Equal(got, want) {
			t.Errorf("%q: %q", s, got)
		}
	}
}
