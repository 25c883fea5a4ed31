package main

import (
	"errors"
	"fmt"
	"os/exec"
	"testing"
)

type statusError int

func (e statusError) Error() string   { return "canary" }
func (e statusError) ExitStatus() int { return int(e) }

func TestExitStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want int
	}{
		{errors.New("x"), exitFailed},
		{statusError(3), 3},
		{fmt.Errorf("asking: %w", statusError(130)), 130},
		{errors.Join(errors.New("x"), statusError(5)), 5},
		{&exitError{4, statusError(3)}, 4},
		{cannotRun(errors.New("x")), exitUsage},
		{statusError(0), exitFailed}, // an error is no success
		{statusError(-1), exitFailed},
		{statusError(256), exitFailed}, // would be 0 to the shell
		{&exec.ExitError{}, exitFailed},
	} {
		if got := exitStatus(tt.err); got != tt.want {
			t.Errorf("%v: %d, want %d", tt.err, got, tt.want)
		}
	}
	if text := (&exitError{status: 1}).Error(); text != "" {
		t.Errorf("%q", text)
	}
	if !errors.Is(&exitError{1, exec.ErrNotFound}, exec.ErrNotFound) {
		t.Error("does not wrap")
	}
}

// TestVerdictsAreToldOnce: a verdict is on standard output, and its exit status
// needs no message besides; a file that cannot be read is no verdict.
func TestVerdictsAreToldOnce(t *testing.T) {
	for _, args := range [][]string{
		{"policy", "lint", "../../envelope/keypolicy/testdata/bad/post.json"},
		{"verify", "main.go"},
	} {
		if code, out, errOut := runArgs(t, "", args...); code != exitFailed || out == "" || errOut != "" {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
	for _, args := range [][]string{{"policy", "lint", "none.json"}, {"verify", "none.cbor"}} {
		if code, out, errOut := runArgs(t, "", args...); code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}
