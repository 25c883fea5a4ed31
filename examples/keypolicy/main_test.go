package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const role = "arn:aws:iam::111122223333:role/"

func call(in string, args ...string) (status int, out, errOut string) {
	var o, e bytes.Buffer
	status = run(args, strings.NewReader(in), &o, &e)
	return status, o.String(), e.String()
}

// described writes what nitro-cli describe-eif prints.
func described(t *testing.T, pcr0 string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "eif.json")
	text := `{"Measurements": {"HashAlgorithm": "Sha384 { ... }", "PCR0": "` + pcr0 + `"}}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestMakeAndLint(t *testing.T) {
	file := described(t, strings.Repeat("ab", 48))
	args := []string{"make", "-admin", role + "admin", "-client", role + "client", "-enclave", role + "parent", "-measurements", file, "-context", "app=chatbot"}
	status, policy, errOut := call("", args...)
	if status != 0 || errOut != "" || !strings.Contains(policy, strings.Repeat("ab", 48)) || !strings.Contains(policy, `"kms:EncryptionContext:app": "chatbot"`) {
		t.Fatal(status, policy, errOut)
	}
	if status, out, errOut := call(policy, "lint", "-measurements", file, "-"); status != 0 || out != "no findings\n" || errOut != "" {
		t.Error(status, out, errOut)
	}
	if status, out, _ := call(policy, "lint", "-untrusted", role+"admin", "-"); status != 1 || !strings.HasPrefix(out, "critical: statement 1 (Administration): changes-policy: ") {
		t.Error(status, out)
	}
	other := described(t, strings.Repeat("cd", 48))
	if status, out, _ := call(policy, "lint", "-json", "-measurements", other, "-"); status != 1 {
		t.Error(status, out)
	} else {
		var findings []struct{ Code, Severity, Fix string }
		if err := json.Unmarshal([]byte(out), &findings); err != nil || len(findings) != 1 || findings[0].Code != "other-measurement" || findings[0].Severity != "warning" || findings[0].Fix == "" {
			t.Error(err, out)
		}
	}
	if status, out, _ := call(policy, "lint", "-json", "-"); status != 0 || out != "[]\n" {
		t.Error(status, out)
	}
	if status, out, _ := call("{", "lint", "-"); status != 1 || !strings.Contains(out, "malformed") {
		t.Error(status, out)
	}
	// A note alone does not fail.
	if status, out, _ := call("", "lint", "../../envelope/keypolicy/testdata/good/root-administers.json"); status != 0 || !strings.HasPrefix(out, "note: ") {
		t.Error(status, out)
	}
}

func TestUsage(t *testing.T) {
	file := described(t, strings.Repeat("ab", 48))
	debug := described(t, strings.Repeat("00", 48))
	for _, args := range [][]string{
		{}, {"help"}, {"lint"}, {"lint", "a", "b"}, {"lint", "-x", "-"}, {"lint", "missing.json"}, {"lint", "-measurements", "missing.json", "-"},
		{"make"}, {"make", "x"}, {"make", "-measurements", file}, {"make", "-context", "x", "-measurements", file},
		{"make", "-context", "a=1", "-context", "a=2"}, {"make", "-measurements", "main.go"},
		{"make", "-admin", role + "a", "-client", role + "c", "-enclave", role + "e", "-measurements", debug},
	} {
		if status, out, errOut := call("", args...); status != 2 || out != "" || errOut == "" {
			t.Errorf("%q: %d, %q, %q", args, status, out, errOut)
		}
	}
	if status, _, errOut := call(strings.Repeat(" ", 40<<10), "lint", "-"); status != 2 || !strings.Contains(errOut, "more than") {
		t.Error(status, errOut)
	}
	if status, out, errOut := call("", "make", "-admin", role+"a", "-client", role+"c", "-delegated", "-attested-responses", "-allow-debug", "-measurements", debug); status != 0 || !strings.Contains(out, "GenerateDataKey") {
		t.Error(status, out, errOut)
	}
}
