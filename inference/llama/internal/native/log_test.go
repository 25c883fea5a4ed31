package native

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

func TestLog(t *testing.T) {
	var out bytes.Buffer
	SetLogger(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug})))
	defer SetLogger(nil)
	send := func(text string) { onLog(ggmlError, &append([]byte(text), 0)[0]) }

	send("llama_decode: what a user wrote\n")
	send("what a user wrote: more\n")
	if got := out.String(); strings.Contains(got, "user") || strings.Count(got, "text withheld") != 2 || !strings.Contains(got, "llama_decode: ") {
		t.Errorf("while serving: %s", got)
	}
	out.Reset()
	done := WhileLoading()
	send("load: bad magic\n")
	if !strings.Contains(out.String(), "bad magic") {
		t.Errorf("while loading: %s", out.String())
	}
	out.Reset()
	CountModel(1)
	send("llama_decode: what a user wrote\n")
	CountModel(-1)
	done()
	if got := out.String(); strings.Contains(got, "user") {
		t.Errorf("while loading beside another model: %s", got)
	}
	out.Reset()
	SetLogger(nil)
	send("load: bad magic\n")
	if out.Len() != 0 {
		t.Errorf("without a logger: %s", out.String())
	}
}
