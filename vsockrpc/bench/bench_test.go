package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// The test binary is the server, too.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BENCH_SERVE"); dir != "" {
		if err := serveAll(dir); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// TestCompare checks that every peer works; figures of so short a time mean
// nothing.
func TestCompare(t *testing.T) {
	var out strings.Builder
	if err := compare(&out, 1, 20*time.Millisecond, "", ""); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &out)
	if got := strings.Count(out.String(), "\n"); got != 2+len(measurements) {
		t.Errorf("%d lines", got)
	}
}
