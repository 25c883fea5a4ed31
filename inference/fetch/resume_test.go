package fetch_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

type (
	response = http.ResponseWriter
	request  = http.Request
)

func flush(w response) { http.NewResponseController(w).Flush() }

// TestCuts breaks connections at random bytes. No byte is asked for twice.
func TestCuts(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, size, func(t *testing.T, s *setup) {
			random := rand.New(rand.NewPCG(seed, 0))
			want := []string{""}
			for at := 0; ; {
				n := random.IntN(size / 3)
				if seed%4 == 0 {
					n = random.IntN(3)
				}
				if at+n >= size || len(s.script) == 8 {
					break
				}
				s.script = append(s.script, cut(n))
				at += n
				if at == 0 {
					want = append(want, "")
				} else {
					want = append(want, fmt.Sprintf("bytes=%d-", at))
				}
			}
			if err := fetch.File(t.Context(), s.opts); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
			s.checkDone(t)
			if got := s.ranges(); !slices.Equal(got, want) {
				t.Errorf("seed %d: ranges %q, want %q", seed, got, want)
			}
		})
	}
}

// TestValidators says when a cut download goes on: only where the version of
// the file is known for sure.
func TestValidators(t *testing.T) {
	for name, tt := range map[string]struct {
		etag    string
		age     time.Duration // of Last-Modified; 0 means none
		ifRange string        // "" means to start over
	}{
		"ETag":                          {`"v1"`, 0, `"v1"`},
		"ETag and date":                 {`"v1"`, time.Hour, `"v1"`},
		"weak ETag":                     {`W/"v1"`, 0, ""},
		"weak ETag and date":            {`W/"v1"`, time.Hour, "Fri, 31 Dec 1999 23:00:00 GMT"},
		"ETag without quotes":           {`v1`, 0, ""},
		"date":                          {"", time.Hour, "Fri, 31 Dec 1999 23:00:00 GMT"},
		"date of the same second":       {"", time.Nanosecond, ""},
		"nothing":                       {"", 0, ""},
		"ETag that is only a quote":     {`"`, 0, ""},
		"ETag that is only two of them": {`""`, 0, `""`},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.etag = tt.etag
				if tt.age == time.Nanosecond {
					s.modified = time.Now()
				} else if tt.age > 0 {
					s.modified = time.Now().Add(-tt.age)
				}
				s.script = []answer{cut(500_000)}
				if err := fetch.File(t.Context(), s.opts); err != nil {
					t.Error(err)
				}
				s.checkDone(t)
				second := s.requests[1]
				if second.Get("If-Range") != tt.ifRange || (second.Get("Range") == "bytes=500000-") != (tt.ifRange != "") {
					t.Errorf("%v", second)
				}
			})
		})
	}
}

// partial answers a range request with whatever is said here.
func partial(contentRange string, body func(o *origin) []byte, header ...string) answer {
	return func(o *origin, w response, _ *request) {
		w.Header().Set("ETag", o.etag)
		for i := 0; i < len(header); i += 2 {
			w.Header().Add(header[i], header[i+1])
		}
		if contentRange != "" {
			w.Header().Add("Content-Range", contentRange)
		}
		w.WriteHeader(206)
		flush(w)
		w.Write(body(o))
	}
}

// TestLies has servers answer a range request with nonsense. None of its bytes
// is used, and the download starts over.
func TestLies(t *testing.T) {
	rest := func(o *origin) []byte { return o.content[1000:] }
	from := func(n int) func(*origin) []byte { return func(o *origin) []byte { return o.content[n:] } }
	for name, lie := range map[string]answer{
		"earlier":             partial("bytes 999-1048592/1048593", from(999)),
		"later":               partial("bytes 1001-1048592/1048593", from(1001)),
		"grown":               partial("bytes 1000-1048593/1048594", rest),
		"shrunk":              partial("bytes 1000-1048591/1048592", rest),
		"size unknown":        partial("bytes 1000-1048592/*", rest),
		"beyond the end":      partial("bytes 1000-1048593/1048593", rest),
		"unsatisfied":         partial("bytes */1048593", rest),
		"no range":            partial("", rest),
		"another unit":        partial("items 1000-1048592/1048593", rest),
		"two ranges":          partial("bytes 1000-1048592/1048593", rest, "Content-Range", "bytes 0-1048592/1048593"),
		"multipart":           partial("", rest, "Content-Type", "multipart/byteranges; boundary=x"),
		"another ETag":        partial("bytes 1000-1048592/1048593", rest, "ETag", `"v2"`),
		"length disagrees":    partial("bytes 1000-1048592/1048593", rest, "Content-Length", "1047592"),
		"more than it said":   partial("bytes 1000-1048592/1048593", func(o *origin) []byte { return append(rest(o), 0) }),
		"negative":            partial("bytes -1000-1048592/1048593", rest),
		"not satisfiable":     status(416, "Content-Range", "bytes */1048593"),
		"ignores the range":   func(o *origin, w response, r *request) { r.Header.Del("Range"); o.serve(w, r) },
		"empty":               partial("bytes 1000-999/1048593", rest),
		"numbers too large":   partial("bytes 1000-99999999999999999999/99999999999999999999", rest),
		"spaces":              partial("bytes  1000-1048592/1048593", rest),
		"compressed (final)":  partial("bytes 1000-1048592/1048593", rest, "Content-Encoding", "gzip"),
		"another date":        partial("bytes 1000-1048592/1048593", rest),
		"range on first call": nil,
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.script = []answer{cut(1000), lie}
				final := false
				switch name {
				case "another ETag":
					s.script[1] = func(o *origin, w response, r *request) {
						lie(&origin{content: o.content, etag: `"v2"`}, w, r)
					}
				case "another date":
					s.etag, s.modified = "", time.Now().Add(-time.Hour)
					s.script[1] = func(o *origin, w response, r *request) {
						w.Header().Set("Last-Modified", "Fri, 31 Dec 1999 22:00:00 GMT")
						lie(o, w, r)
					}
				case "range on first call":
					s.script, final = []answer{partial("bytes 0-1048592/1048593", from(0))}, true
				case "compressed (final)":
					final = true
				}
				err := fetch.File(t.Context(), s.opts)
				if final {
					if !errors.Is(err, fetch.ErrProtocol) {
						t.Error(err)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				s.checkDone(t)
				want := []string{"", "bytes=1000-", ""}
				if name == "ignores the range" { // which is no lie
					want = want[:2]
				}
				if got := s.ranges(); !slices.Equal(got, want) {
					t.Errorf("ranges %q", got)
				}
			})
		})
	}
}

// TestParts has a server that sends at most 100,000 bytes an answer. That is
// no failure: there is no waiting.
func TestParts(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = []answer{cut(100_000)}
		for range 20 {
			s.script = append(s.script, func(o *origin, w response, r *request) {
				var first int
				fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &first)
				r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", first, first+99_999))
				o.serve(w, r)
			})
		}
		began := time.Now()
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Error(err)
		}
		s.checkDone(t)
		if n := len(s.requests); n != 11 || time.Since(began) > time.Second {
			t.Errorf("%d requests in %v", n, time.Since(began))
		}
	})
}

// TestChanged exchanges the file between two attempts.
func TestChanged(t *testing.T) {
	for name, newIsRight := range map[string]bool{"to the right one": true, "to a wrong one": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				other := random(size + 1)
				if newIsRight {
					s.opts.SHA256 = digest(other)
				}
				s.script = []answer{func(o *origin, w response, r *request) {
					defer func() { o.content, o.etag = other, `"v2"` }()
					cut(700_000)(o, w, r)
				}}
				err := fetch.File(t.Context(), s.opts)
				if newIsRight {
					if err != nil {
						t.Error(err)
					}
					s.checkDone(t)
				} else if !errors.Is(err, fetch.ErrDigest) || len(s.left(t)) > 0 {
					t.Errorf("%v, files %q", err, s.left(t))
				}
				if got := s.ranges(); !slices.Equal(got, []string{"", "bytes=700000-"}) {
					t.Errorf("ranges %q", got)
				}
			})
		})
	}
}

// TestLeftovers changes what an earlier call has left.
func TestLeftovers(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *setup) error
		want   string // the next Range
		err    error
	}{
		"as they are":  {func(*setup) error { return nil }, "bytes=700000-", nil},
		"cut":          {func(s *setup) error { return os.Truncate(s.part, 5) }, "bytes=5-", nil},
		"empty":        {func(s *setup) error { return os.Truncate(s.part, 0) }, "", nil},
		"too long":     {func(s *setup) error { return os.Truncate(s.part, size+1) }, "", nil},
		"other bytes":  {func(s *setup) error { return os.WriteFile(s.part, make([]byte, 7), 0o600) }, "bytes=7-", fetch.ErrDigest},
		"no state":     {func(s *setup) error { return os.Remove(s.part + ".json") }, "", nil},
		"no part":      {func(s *setup) error { return os.Remove(s.part) }, "", nil},
		"a torn state": {func(s *setup) error { return os.Truncate(s.part+".json", 20) }, "", nil},
		"a validator of two lines": {func(s *setup) error {
			return os.WriteFile(s.part+".json", fmt.Appendf(nil, `{"sha256":%q,"validator":"\"a\r\nX: y\"","size":-1}`, s.opts.SHA256), 0o600)
		}, "", nil},
		"of another file": {func(s *setup) error {
			s.content = random(size + 5)
			s.opts.SHA256 = digest(s.content)
			return nil
		}, "", nil},
		"whole":           {func(s *setup) error { return os.WriteFile(s.part, s.content, 0o600) }, "none", nil},
		"whole and wrong": {func(s *setup) error { return os.WriteFile(s.part, make([]byte, size), 0o600) }, "none", fetch.ErrDigest},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.script = []answer{cut(700_000), status(403)}
				if err := fetch.File(t.Context(), s.opts); err == nil || len(s.left(t)) != 2 {
					t.Fatalf("%v, files %q", err, s.left(t))
				}
				s.requests, s.script = nil, nil
				if err := tt.change(s); err != nil {
					t.Fatal(err)
				}
				err := fetch.File(t.Context(), s.opts)
				if !errors.Is(err, tt.err) {
					t.Errorf("%v, want %v", err, tt.err)
				}
				if tt.err == nil {
					s.checkDone(t)
				} else if left := s.left(t); len(left) > 0 {
					t.Errorf("files %q", left)
				}
				if got := append(s.ranges(), "none")[0]; got != tt.want {
					t.Errorf("range %q, want %q", got, tt.want)
				}
			})
		})
	}
}

// TestLengths has servers that announce another length than they send.
func TestLengths(t *testing.T) {
	for name, tt := range map[string]struct {
		serve answer
		want  []string
	}{
		"too little": {func(o *origin, w response, r *request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Header().Set("ETag", o.etag)
			w.Write(o.content[:size-5])
		}, []string{"", fmt.Sprintf("bytes=%d-", size-5)}},
		// The client reads what was announced; the rest is not its file.
		"too much": {func(o *origin, w response, _ *request) {
			c, buf, err := http.NewResponseController(w).Hijack()
			if err != nil {
				panic(err)
			}
			defer c.Close()
			fmt.Fprintf(buf, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s and more", size, o.content)
			buf.Flush()
			io.Copy(io.Discard, c)
		}, []string{""}},
		"unknown": {func(o *origin, w response, _ *request) { flush(w); w.Write(o.content) }, []string{""}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.script = []answer{tt.serve}
				if err := fetch.File(t.Context(), s.opts); err != nil {
					t.Error(err)
				}
				s.checkDone(t)
				if got := s.ranges(); !slices.Equal(got, tt.want) {
					t.Errorf("ranges %q", got)
				}
			})
		})
	}
}

func TestEncoding(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = []answer{status(200, "Content-Encoding", "gzip")}
		err := fetch.File(t.Context(), s.opts)
		if !errors.Is(err, fetch.ErrProtocol) || !strings.Contains(err.Error(), "gzip") || len(s.requests) != 1 {
			t.Errorf("%v after %d requests", err, len(s.requests))
		}
		if left := s.left(t); len(left) != 0 {
			t.Errorf("files %q", left)
		}
	})
}
