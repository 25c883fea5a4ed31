package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

func TestBoth(t *testing.T) {
	for range 2 { // the address is free again afterwards
		var out, errOut bytes.Buffer
		got := run(t.Context(), []string{"-message", "hällo"}, &out, &errOut)
		if want := "serving at mem://echo\nmem://echo answered \"hällo\"\n"; got != 0 || out.String() != want || errOut.Len() > 0 {
			t.Errorf("exit status %d, %q, %q", got, &out, &errOut)
		}
	}
}

func TestServerAndClient(t *testing.T) {
	addr := "unix://" + filepath.Join(t.TempDir(), "s")
	ctx, interrupt := context.WithCancel(t.Context())
	r, w := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"-listen", addr}, w, io.Discard)
		w.Close()
	}()
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || line != "serving at "+addr+"\n" {
		t.Fatal(line, err)
	}
	for range 2 {
		var out, errOut bytes.Buffer
		got := run(t.Context(), []string{"-dial", addr}, &out, &errOut)
		if got != 0 || out.String() != addr+" answered \"hello, enclave\"\n" || errOut.Len() > 0 {
			t.Errorf("exit status %d, %q, %q", got, &out, &errOut)
		}
	}
	interrupt()
	if got := <-status; got != 0 {
		t.Errorf("the server's exit status is %d", got)
	}
}

func TestFailures(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"-x"}, 2, "Usage"},
		{[]string{"text"}, 2, "Usage"},
		{[]string{"-listen", "mem://a", "-dial", "mem://a"}, 2, "Usage"},
		{[]string{"-listen", "http://a"}, 1, "unknown scheme"},
		{[]string{"-dial", "http://a"}, 1, "unknown scheme"},
		{[]string{"-dial", "mem://nobody"}, 1, "unavailable"},
		{[]string{"-message", strings.Repeat("x", 5<<20)}, 1, "resource exhausted"},
	} {
		var out, errOut bytes.Buffer
		got := run(t.Context(), tt.args, &out, &errOut)
		if got != tt.want || !strings.Contains(errOut.String(), tt.says) || got == 1 && strings.Count(errOut.String(), "\n") != 1 {
			t.Errorf("%.100q: exit status %d, %q, %q", tt.args, got, &out, &errOut)
		}
	}
}
