package validate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standins are programs that note how they are called and answer as told.
type standins struct {
	dir, log string
}

// newStandins makes a folder for them, and in it nothing but what they and bash
// scripts need of the system.
func newStandins(t *testing.T) *standins {
	t.Helper()
	dir := t.TempDir()
	s := &standins{dir: dir, log: filepath.Join(dir, "log")}
	for _, name := range strings.Fields("bash env dirname wc tr grep sed head mkdir rm rmdir cat sleep install touch") {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// add adds a program: what it does after it has noted its arguments and, if
// there is any, its standard input.
func (s *standins) add(t *testing.T, name, body string) {
	t.Helper()
	script := "#!/bin/bash\necho \"" + name + " $*\" >>'" + s.log + "'\n" + body + "\n"
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
}

// run runs a script with these programs alone and the settings, NAME=VALUE.
func (s *standins) run(t *testing.T, settings []string, script string, args ...string) (string, error) {
	t.Helper()
	cmd := s.command(t, settings, script, args...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (s *standins) command(t *testing.T, settings []string, script string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(deploy, script))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{"PATH=" + s.dir}, settings...)
	return cmd
}

// calls returns the calls so far and forgets them.
func (s *standins) calls(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(s.log)
	if os.IsNotExist(err) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(s.log); err != nil {
		t.Fatal(err)
	}
	return string(data)
}
