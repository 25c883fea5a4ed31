package fetch_test

import (
	"context"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/fetch"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-fetch.md.
func TestBadInput(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		w.Write([]byte(badinput.Canary))
	}))
	defer server.Close()
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	if err := os.WriteFile(there, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	plain := badinput.Plain()
	var cases []badinput.Case
	for _, c := range []struct {
		input  string
		want   badinput.Outcome
		varies bool
		change func(*fetch.Options)
	}{
		{"zero options", plain, false, func(o *fetch.Options) { *o = fetch.Options{} }},
		{"no URL", plain, false, func(o *fetch.Options) { o.URL = "" }},
		{"a URL with a newline", plain, false, func(o *fetch.Options) { o.URL = "https://a/\n" + badinput.Canary }},
		{"a URL of a file", plain, false, func(o *fetch.Options) { o.URL = "file:///etc/passwd" }},
		{"an http URL without AllowHTTP", badinput.Is("fetch.ErrInsecure", fetch.ErrInsecure), false, func(o *fetch.Options) { o.AllowHTTP = false }},
		{"an ftp URL", badinput.Is("fetch.ErrInsecure", fetch.ErrInsecure), false, func(o *fetch.Options) { o.URL = "ftp://example.com/file" }},
		{"no Path", plain, false, func(o *fetch.Options) { o.Path = "" }},
		{"a Path with a NUL", plain, false, func(o *fetch.Options) { o.Path += "\x00" }},
		{"a Path in a folder that is not there", badinput.Is("fs.ErrNotExist", fs.ErrNotExist), true, func(o *fetch.Options) { o.Path = filepath.Join(dir, "no", "file") }},
		{"a Path that is a folder", badinput.Is("fetch.ErrExists", fetch.ErrExists), true, func(o *fetch.Options) { o.Path = dir }},
		{"a Path that is there, with another digest", badinput.Is("fetch.ErrExists", fetch.ErrExists), true, func(o *fetch.Options) { o.Path = there }},
		{"no digest", plain, false, func(o *fetch.Options) { o.SHA256 = "" }},
		{"a digest of 63 digits", plain, false, func(o *fetch.Options) { o.SHA256 = o.SHA256[1:] }},
		{"a digest that is none", plain, false, func(o *fetch.Options) { o.SHA256 = strings.Repeat("x", 64) }},
		{"MaxBytes of -1", plain, false, func(o *fetch.Options) { o.MaxBytes = -1 }},
		{"a StallTimeout of -1", plain, false, func(o *fetch.Options) { o.StallTimeout = -1 }},
		{"a file larger than MaxBytes", badinput.Is("fetch.ErrTooLarge", fetch.ErrTooLarge), true, func(o *fetch.Options) { o.MaxBytes = 1 }},
		{"a file of another digest", badinput.Is("fetch.ErrDigest", fetch.ErrDigest), true, func(*fetch.Options) {}},
		{"a URL that is not there", badinput.As[*fetch.StatusError](), true, func(o *fetch.Options) { o.URL += "/gone" }},
	} {
		cases = append(cases, badinput.Case{Func: "File", Input: c.input, Want: c.want, Varies: c.varies, Call: func(ctx context.Context) error {
			opts := fetch.Options{URL: server.URL, Path: filepath.Join(dir, "file"), SHA256: strings.Repeat("a", 64), AllowHTTP: true, Retries: -1}
			c.change(&opts)
			return fetch.File(ctx, opts)
		}})
	}
	badinput.Table{
		Package: "inference/fetch",
		Cases: append(cases, badinput.On("File", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error {
			return fetch.File(gone, fetch.Options{URL: server.URL, Path: filepath.Join(dir, "file"), SHA256: strings.Repeat("a", 64), AllowHTTP: true})
		}).Vary()),
		NoInput: []string{"StatusError.Error"},
	}.Run(t)
}
