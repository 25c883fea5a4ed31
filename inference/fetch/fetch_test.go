package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

const size = 1<<20 + 17

func TestFile(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		var last fetch.Progress
		s.opts.Progress = func(p fetch.Progress) {
			if p.Done < last.Done || p.Total != size || p.Resumed != 0 {
				t.Errorf("%+v after %+v", p, last)
			}
			last = p
		}
		s.opts.SHA256 = strings.ToUpper(s.opts.SHA256)
		for range 2 { // the second time without the network
			if err := fetch.File(t.Context(), s.opts); err != nil {
				t.Fatal(err)
			}
			s.checkDone(t)
		}
		if info, err := os.Stat(s.opts.Path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v %v", info.Mode(), err)
		}
		if len(s.requests) != 1 || s.requests[0].Get("Accept-Encoding") != "identity" || s.ranges()[0] != "" {
			t.Errorf("%v", s.requests)
		}
		if last.Done != size {
			t.Errorf("%+v", last)
		}
	})
}

func TestExisting(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		write := func(name, text string) {
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(s.opts.Path, "mine")
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrExists) || len(s.requests) > 0 {
			t.Errorf("%v after %d requests", err, len(s.requests))
		}
		if got, err := os.ReadFile(s.opts.Path); err != nil || string(got) != "mine" {
			t.Errorf("%q %v", got, err)
		}
		s.opts.Overwrite = true
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Error(err)
		}
		s.checkDone(t)
		s.opts.Path = t.TempDir()
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrExists) {
			t.Errorf("a folder: %v", err)
		}
		// A link in place of the part file must not lead elsewhere.
		s.opts.Path = t.TempDir() + "/linked"
		victim := t.TempDir() + "/victim"
		write(victim, "mine")
		if err := os.Symlink(victim, s.opts.Path+".part"); err != nil {
			t.Fatal(err)
		}
		err := fetch.File(t.Context(), s.opts)
		if got, _ := os.ReadFile(victim); err == nil || string(got) != "mine" {
			t.Errorf("through a link: %v, %d bytes", err, len(got))
		}
	})
}

func TestDigest(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.opts.SHA256 = strings.Repeat("0", 64)
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrDigest) {
			t.Error(err)
		}
		if left := s.left(t); len(left) != 0 {
			t.Errorf("files %q", left)
		}
	})
}

func TestTooLarge(t *testing.T) {
	for name, script := range map[string][]answer{
		"told": nil,
		"not told, at once": {func(o *origin, w response, _ *request) {
			flush(w)
			w.Write(o.content)
		}},
		"grown": {cut(1000), func(o *origin, w response, _ *request) {
			w.Header().Set("ETag", o.etag)
			w.Header().Set("Content-Length", fmt.Sprint(size+1))
			w.Write(o.content)
			w.Write([]byte("x"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.script = script
				s.opts.MaxBytes = size - 1
				if name == "grown" {
					s.opts.MaxBytes = size
				}
				s.opts.Progress = func(p fetch.Progress) {
					if name == "told" {
						t.Errorf("%d bytes were read", p.Done)
					}
				}
				if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrTooLarge) {
					t.Error(err)
				}
				if left := s.left(t); len(left) != 0 {
					t.Errorf("files %q", left)
				}
			})
		})
	}
	bubble(t, size, func(t *testing.T, s *setup) {
		s.opts.MaxBytes = size
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Errorf("just small enough: %v", err)
		}
	})
}

// TestBusy runs a second download while the first waits.
func TestBusy(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = []answer{stall(1000)}
		first := make(chan error)
		go func() { first <- fetch.File(t.Context(), s.opts) }()
		synctest.Wait()
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrBusy) {
			t.Error(err)
		}
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		s.checkDone(t)
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestMany runs several downloads of one file at once, which find each other
// in every state. Each is done or busy, and one at least is done.
func TestMany(t *testing.T) {
	bubble(t, 1000, func(t *testing.T, s *setup) {
		done := make(chan error)
		for range 16 {
			go func() { done <- fetch.File(t.Context(), s.opts) }()
		}
		n := 0
		for range 16 {
			switch err := <-done; {
			case err == nil:
				n++
			case !errors.Is(err, fetch.ErrBusy):
				t.Error(err)
			}
		}
		if n == 0 {
			t.Error("all were busy")
		}
		s.checkDone(t)
	})
}

func TestOptions(t *testing.T) {
	good := fetch.Options{URL: "https://example.com/m", Path: "m", SHA256: strings.Repeat("0", 64)}
	for name, change := range map[string]func(*fetch.Options){
		"no URL":           func(o *fetch.Options) { o.URL = "" },
		"relative URL":     func(o *fetch.Options) { o.URL = "/m?canary" },
		"no host":          func(o *fetch.Options) { o.URL = "https:///m?canary" },
		"malformed URL":    func(o *fetch.Options) { o.URL = "https://e xample/?canary" },
		"no digest":        func(o *fetch.Options) { o.SHA256 = "" },
		"short digest":     func(o *fetch.Options) { o.SHA256 = o.SHA256[2:] },
		"no hexadecimal":   func(o *fetch.Options) { o.SHA256 = strings.Repeat("x", 64) },
		"no path":          func(o *fetch.Options) { o.Path = "" },
		"negative limit":   func(o *fetch.Options) { o.MaxBytes = -1 },
		"negative timeout": func(o *fetch.Options) { o.StallTimeout = -1 },
	} {
		o := good
		change(&o)
		err := fetch.File(t.Context(), o)
		if err == nil || !strings.HasPrefix(err.Error(), "fetch: Options.") || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestCancel ends a download from within, and goes on in a later call.
func TestCancel(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		ctx, cancel := context.WithCancelCause(t.Context())
		s.opts.Progress = func(p fetch.Progress) {
			if p.Done > size/2 {
				cancel(errors.New("a reason"))
			}
		}
		if err := fetch.File(ctx, s.opts); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if left := s.left(t); !slices.Equal(left, []string{"m.gguf.part", "m.gguf.part.json"}) {
			t.Fatalf("files %q", left)
		}
		for _, name := range []string{s.part, s.part + ".json"} {
			info, err := os.Stat(name)
			if err != nil || info.Mode() != 0o600 {
				t.Errorf("%s: %v %v", name, info.Mode(), err)
			}
		}
		if state, err := os.ReadFile(s.part + ".json"); err != nil || strings.Contains(string(state), canary) {
			t.Errorf("%s %v", state, err)
		}
		var first fetch.Progress
		s.opts.Progress = func(p fetch.Progress) {
			if first.Total == 0 {
				first = p
			}
		}
		// Signed URLs are new ones each time.
		s.opts.URL = "https://example.com/models/m.gguf?X-Signature=another"
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Fatal(err)
		}
		s.checkDone(t)
		if first.Resumed <= size/2 || first.Done != first.Resumed || first.Total != size {
			t.Errorf("%+v", first)
		}
		second := s.requests[1]
		if second.Get("Range") != fmt.Sprintf("bytes=%d-", first.Done) || second.Get("If-Range") != s.etag {
			t.Errorf("%v", second)
		}
	})
}

// TestCancelWhileWaiting ends a download between two attempts.
func TestCancelWhileWaiting(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = []answer{cut(1000), status(503, "Retry-After", "100")}
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
		defer cancel()
		began := time.Now()
		if err := fetch.File(ctx, s.opts); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 50*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if len(s.left(t)) != 2 {
			t.Errorf("files %q", s.left(t))
		}
	})
}
