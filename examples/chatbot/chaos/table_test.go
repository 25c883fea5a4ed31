package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestDocument(t *testing.T) {
	results := []result{
		{
			cell: cell{hop: "link", fault: "cut", how: "a | and\na line"}, good: 48,
			errors: map[class]int{"b": 2, "a": 2, "c": 30}, recovered: 1234567 * time.Microsecond,
		},
		{cell: cell{hop: "parent", fault: "killed", how: "SIGKILL"}, problems: []string{"jdoe: WRONG ANSWER \"a|b\"", "leak"}},
		{cell: cell{hop: "KMS", fault: "killed", skip: "its keys | are in memory"}},
	}
	got := document(results, 90*time.Second)
	for _, want := range []string{
		"3 faults: 1 ok, 1 failed, 1 not done. The run took 1m30s.",
		`| link | cut | a \| and a line | 48 | 30 × c, 2 × a, 2 × b | 1.235s | ok |` + "\n",
		`| parent | killed | SIGKILL | 0 | no errors | 0s | FAILED: jdoe: WRONG ANSWER "a\|b"; leak |` + "\n",
		`| KMS | killed | | | | | not done: its keys \| are in memory |` + "\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
	for line := range strings.Lines(got) {
		if columns := strings.Count(strings.ReplaceAll(line, `\|`, ""), "|"); columns != 0 && columns != 8 {
			t.Errorf("not 7 columns: %s", line)
		}
	}
}

func TestListAndFlags(t *testing.T) {
	var out, errs bytes.Buffer
	if failures, err := run(t.Context(), []string{"-list", "-only", "^link.*: cut$"}, &out, &errs); err != nil || failures != 0 || out.String() != "link parent–enclave: cut\n" {
		t.Errorf("%d, %v, %q", failures, err, &out)
	}
	for _, args := range [][]string{{"-only", "("}, {"-timeout", "0"}, {"more"}, {"-only", "no such cell"}} {
		if _, err := run(t.Context(), args, &out, &errs); err == nil {
			t.Errorf("%q: taken", args)
		}
	}
}

func TestWrite(t *testing.T) {
	s := &settings{out: filepath.Join(t.TempDir(), "t.md")}
	if err := s.write(nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(s.out); err != nil || string(data) != document(nil, 0) {
		t.Errorf("%q, %v", data, err)
	}
}
