package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/model"
)

// modelServer serves the embedded model, and cuts the first connections after
// those numbers of bytes.
func modelServer(t *testing.T, cuts ...int) (url string, ranges func() []string) {
	t.Helper()
	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n := len(asked)
		asked = append(asked, r.Header.Get("Range"))
		mu.Unlock()
		w.Header().Set("ETag", `"v1"`)
		if n < len(cuts) {
			http.ServeContent(&cutResponse{w, cuts[n]}, r, "m.gguf", time.Time{}, bytes.NewReader(model.GGUF))
			return
		}
		http.ServeContent(w, r, "m.gguf", time.Time{}, bytes.NewReader(model.GGUF))
	}))
	t.Cleanup(srv.Close)
	return srv.URL + "/m.gguf?sig=canary", func() []string {
		mu.Lock()
		defer mu.Unlock()
		return asked
	}
}

// cutResponse breaks the connection after some bytes of the body.
type cutResponse struct {
	http.ResponseWriter
	left int
}

func (c *cutResponse) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p[:min(len(p), c.left)])
	c.left -= n
	if err != nil || n < len(p) {
		http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func TestModelFetch(t *testing.T) {
	url, ranges := modelServer(t, 1_000_000)
	path := filepath.Join(t.TempDir(), "m.gguf")
	args := []string{"model", "fetch", "-url", url, "-sha256", model.Digest, "-o", path}
	if code, out, errOut := runArgs(t, "", args...); code != exitFailed || out != "" || !strings.Contains(errOut, "https") || strings.Contains(errOut, "canary") {
		t.Errorf("plain HTTP: exit status %d, %q, %q", code, out, errOut)
	}
	args = append(args, "-allow-http")
	for range 2 { // the second time it is there
		code, out, errOut := runArgs(t, "", args...)
		if code != exitOK || out != model.Digest+"  "+path+"\n" || strings.Contains(errOut, "canary") {
			t.Fatalf("exit status %d, %q, %q", code, out, errOut)
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, model.GGUF) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if got := ranges(); len(got) != 2 || got[1] != "bytes=1000000-" {
		t.Errorf("ranges %q", got)
	}
}

// TestModelFetchAgain runs the command anew after a failure: it goes on. A
// file that is there is not replaced without being asked.
func TestModelFetchAgain(t *testing.T) {
	url, ranges := modelServer(t, 500_000, 500_000)
	path := filepath.Join(t.TempDir(), "m.gguf")
	args := []string{"model", "fetch", "-url", url, "-sha256", model.Digest, "-o", path, "-allow-http", "-retries", "-1"}
	for range 2 {
		if code, out, errOut := runArgs(t, "", args...); code != exitFailed || out != "" || strings.Contains(errOut, "canary") {
			t.Fatalf("exit status %d, %q, %q", code, out, errOut)
		}
		if _, err := os.Stat(path); err == nil {
			t.Fatal("an unfinished file under the final name")
		}
	}
	if code, _, errOut := runArgs(t, "", args...); code != exitOK {
		t.Fatalf("exit status %d, %q", code, errOut)
	}
	if got := ranges(); len(got) != 3 || got[1] != "bytes=500000-" || got[2] != "bytes=1000000-" {
		t.Errorf("ranges %q", got)
	}
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errOut := runArgs(t, "", args...); code != exitFailed || !strings.Contains(errOut, "another digest") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
	if code, _, errOut := runArgs(t, "", append(args, "-overwrite")...); code != exitOK {
		t.Errorf("exit status %d, %q", code, errOut)
	}
	args[5] = strings.Repeat("0", 64)
	args[7] = path + "2"
	if code, _, errOut := runArgs(t, "", args...); code != exitFailed || !strings.Contains(errOut, "wrong digest") {
		t.Errorf("exit status %d, %q", code, errOut)
	}
}

func TestModelFetchStopped(t *testing.T) {
	url, _ := modelServer(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	var out, errOut bytes.Buffer
	code := run(ctx, []string{"model", "fetch", "-url", url, "-sha256", model.Digest, "-o", filepath.Join(t.TempDir(), "m"), "-allow-http"}, streams{nil, &out, &errOut})
	if code != exitFailed || !strings.Contains(errOut.String(), "the same command goes on") {
		t.Errorf("exit status %d, %q, %q", code, &out, &errOut)
	}
}

func TestModelConvert(t *testing.T) {
	dir := t.TempDir()
	sizes := map[string]int64{}
	for _, typ := range []string{"f32", "f16", "q8_0"} {
		path := filepath.Join(dir, typ+".gguf")
		code, out, errOut := runArgs(t, "", "model", "convert", "-from", "../gguf/testdata/tiny", "-o", path, "-type", typ, "-name", "tiny \x1b[2J")
		data, err := os.ReadFile(path)
		if code != exitOK || err != nil || out != fmt.Sprintf("%x  %s\n", sha256.Sum256(data), path) {
			t.Fatalf("%s: exit status %d, %q, %q, %v", typ, code, out, errOut, err)
		}
		sizes[typ] = int64(len(data))
		code, out, errOut = runArgs(t, "", "model", "show", path)
		if code != exitOK || errOut != "" || strings.Contains(out, "\x1b") {
			t.Errorf("%s: exit status %d, %q, %q", typ, code, out, errOut)
		}
		for _, want := range []string{
			fmt.Sprintf("GGUF version 3, %d bytes, SHA-256 %x\n", len(data), sha256.Sum256(data)),
			`"tiny \x1b[2J"` + "\n", fmt.Sprintf("%-40q %-5s ", "token_embd.weight", typ),
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: without %q:\n%s", typ, want, out)
			}
		}
	}
	if sizes["f32"] <= sizes["f16"] || sizes["f16"] <= sizes["q8_0"] {
		t.Errorf("sizes %v", sizes)
	}
	// What fails leaves nothing.
	if code, _, _ := runArgs(t, "", "model", "convert", "-from", dir, "-o", filepath.Join(dir, "x")); code != exitFailed {
		t.Errorf("exit status %d", code)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != len(sizes) {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestModelUsage(t *testing.T) {
	for _, args := range [][]string{
		{}, {"nothing"}, {"fetch"}, {"fetch", "-url", "https://example.com/m"}, {"fetch", "x"}, {"convert"},
		{"convert", "-from", "x", "-o", "y", "-type", "q4_0"}, {"show"}, {"show", "a", "b"}, {"show", "-x"},
	} {
		if code, out, errOut := runArgs(t, "", append([]string{"model"}, args...)...); code != exitUsage || out != "" || errOut == "" {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
	for _, c := range modelCommands {
		code, out, errOut := runArgs(t, "", "model", c.name, "-h")
		if code != exitOK || !strings.HasPrefix(out, "NAME\n    chatbot model "+c.name+" - ") || errOut != "" {
			t.Errorf("%s -h: exit status %d, %q, %q", c.name, code, out, errOut)
		}
	}
	for _, args := range [][]string{{"show", "none"}, {"show", "main.go"}, {"fetch", "-url", "ftp://example.com/?canary", "-sha256", model.Digest, "-o", "x"}} {
		code, out, errOut := runArgs(t, "", append([]string{"model"}, args...)...)
		if code != exitFailed || out != "" || !strings.HasPrefix(errOut, "chatbot model: ") || strings.Contains(errOut, "canary") {
			t.Errorf("%q: exit status %d, %q, %q", args, code, out, errOut)
		}
	}
}
