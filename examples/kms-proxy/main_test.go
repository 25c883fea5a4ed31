package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	want := []string{
		`KMS      serves TLS on 127\.0\.0\.1:\d+`,
		`parent   refuses to forward to example\.com:443: it is not on the allowlist`,
		`parent   forwards from unix:///.*/kms to KMS, and to nothing else`,
		`enclave  encrypted with KMS through the parent: \d+ bytes`,
		`enclave  decrypted by attestation: "how do I reset my password\?"`,
		`enclave  refuses the same server where it believes AWS's roots alone`,
		`parent   passed on \d connections, [1-9]\d{3,} bytes up and [1-9]\d{3,} down, all of it TLS`,
	}
	got := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), &out)
	}
	for i, line := range got {
		if !regexp.MustCompile("^" + want[i] + "$").MatchString(line) {
			t.Errorf("line %d is %q, want %s", i+1, line, want[i])
		}
	}
}

// What fails is said, not printed as a step.
func TestRunFails(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if err := run(ctx, &out); !errors.Is(err, context.Canceled) || strings.Contains(out.String(), "decrypted") {
		t.Errorf("%v\n%s", err, &out)
	}
}
