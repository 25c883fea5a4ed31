package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
)

func TestReplace(t *testing.T) {
	for range 2 { // the addresses are free again afterwards
		var out, errOut bytes.Buffer
		if got := run(t.Context(), nil, &out, &errOut); got != 0 || errOut.Len() > 0 {
			t.Fatalf("exit status %d, %q", got, &errOut)
		}
		lines := strings.Split(out.String(), "\n")
		if len(lines) != 6 || lines[4] != "no call failed" {
			t.Fatalf("%q", &out)
		}
		sum := 0
		for i, line := range lines[:4] {
			n := 0
			if _, err := fmt.Sscanf(line, fmt.Sprintf("mem://enclave-%d served %%d calls", i+1), &n); err != nil || n == 0 {
				t.Errorf("%q: %v", line, err)
			}
			sum += n
		}
		if sum != calls {
			t.Errorf("%d calls", sum)
		}
	}
}

func TestFailures(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		ctx  context.Context
		args []string
		want int
		says string
	}{
		{t.Context(), []string{"text"}, 2, "usage"},
		{ended, nil, 1, "pool: "},
	} {
		var out, errOut bytes.Buffer
		got := run(tt.ctx, tt.args, &out, &errOut)
		if got != tt.want || !strings.Contains(errOut.String(), tt.says) || got == 1 && strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%q: exit status %d, %q, %q", tt.args, got, &out, &errOut)
		}
	}
}
