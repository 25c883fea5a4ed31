package fetch_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

// TestStatuses wants to know which are tried again, and when.
func TestStatuses(t *testing.T) {
	later := func(t *testing.T) string { return time.Now().Add(100 * time.Second).UTC().Format(http.TimeFormat) }
	for name, tt := range map[string]struct {
		code        int
		retryAfter  string // "date" is in 100 seconds
		ok          bool
		least, most time.Duration
	}{
		"not found":          {code: 404},
		"forbidden":          {code: 403, retryAfter: "1"},
		"unauthorized":       {code: 401},
		"not satisfiable":    {code: 416},
		"no content":         {code: 204},
		"not modified":       {code: 304},
		"unavailable":        {503, "", true, firstWait / 2, firstWait},
		"too many":           {429, "", true, firstWait / 2, firstWait},
		"too many, later":    {429, "100", true, 100 * time.Second, 100 * time.Second},
		"server error":       {500, "0", true, firstWait / 2, firstWait},
		"unavailable, later": {503, "date", true, 99 * time.Second, 100 * time.Second},
		"nonsense":           {503, "-5", true, firstWait / 2, firstWait},
		"a date gone by":     {503, "Mon, 01 Jan 1990 00:00:00 GMT", true, firstWait / 2, firstWait},
		"much later":         {code: 503, retryAfter: "86400"},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				if tt.retryAfter == "date" {
					tt.retryAfter = later(t)
				}
				s.script = []answer{status(tt.code, "Retry-After", tt.retryAfter)}
				began := time.Now()
				err := fetch.File(t.Context(), s.opts)
				took := time.Since(began)
				if tt.ok {
					if err != nil || took < tt.least || took > tt.most {
						t.Errorf("%v after %v", err, took)
					}
					return
				}
				e, ok := errors.AsType[*fetch.StatusError](err)
				if !ok || e.Code != tt.code || len(s.requests) != 1 || took != 0 || len(s.left(t)) != 0 {
					t.Errorf("%v after %v and %d requests, files %q", err, took, len(s.requests), s.left(t))
				}
				if name == "much later" && (e.RetryAfter != 24*time.Hour || !strings.Contains(err.Error(), "24h")) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

const firstWait = 500 * time.Millisecond

// TestGiveUp fails without end.
func TestGiveUp(t *testing.T) {
	for _, tt := range []struct {
		retries, attempts int
		least, most       time.Duration
	}{{0, 9, 45 * time.Second, 95 * time.Second}, {3, 4, 1750 * time.Millisecond, 3500 * time.Millisecond}, {-1, 1, 0, 0}} {
		bubble(t, size, func(t *testing.T, s *setup) {
			s.script = slices.Repeat([]answer{status(502)}, 100)
			s.opts.Retries = tt.retries
			began := time.Now()
			err := fetch.File(t.Context(), s.opts)
			took := time.Since(began)
			e, ok := errors.AsType[*fetch.StatusError](err)
			if !ok || e.Code != 502 || len(s.requests) != tt.attempts || took < tt.least || took > tt.most {
				t.Errorf("%v after %d requests in %v", err, len(s.requests), took)
			}
		})
	}
}

// TestProgressResets cuts more often than there are retries, but each time
// after something new.
func TestProgressResets(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = slices.Repeat([]answer{cut(70_000)}, 14)
		s.opts.Retries = 1
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Error(err)
		}
		s.checkDone(t)
	})
	// Without ranges the same bytes come again and again: that is nothing new.
	bubble(t, size, func(t *testing.T, s *setup) {
		s.etag = ""
		s.script = slices.Repeat([]answer{cut(900_000)}, 100)
		s.opts.Retries = 2
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, io.ErrUnexpectedEOF) || len(s.requests) != 3 {
			t.Errorf("%v after %d requests", err, len(s.requests))
		}
	})
}

func TestStall(t *testing.T) {
	// It hangs up without a word: returning would be an answer of no bytes, which
	// may come before the client has left.
	silent := func(_ *origin, _ response, r *request) {
		wait(r)
		panic(http.ErrAbortHandler)
	}
	for name, tt := range map[string]struct {
		script []answer
		want   []string
	}{
		"before the answer": {[]answer{silent}, []string{"", ""}},
		"in the body":       {[]answer{stall(700_000)}, []string{"", "bytes=700000-"}},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				s.script = tt.script
				s.opts.StallTimeout = 7 * time.Second
				began := time.Now()
				if err := fetch.File(t.Context(), s.opts); err != nil {
					t.Error(err)
				}
				s.checkDone(t)
				if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
					t.Errorf("%v", took)
				}
				if got := s.ranges(); !slices.Equal(got, tt.want) {
					t.Errorf("ranges %q", got)
				}
			})
		})
	}
	t.Run("always", func(t *testing.T) {
		bubble(t, size, func(t *testing.T, s *setup) {
			s.script = []answer{silent, silent, silent}
			s.opts.Retries = 2
			if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrStalled) {
				t.Error(err)
			}
		})
	})
	// Slow is not stalled: 20 minutes for a file, with a byte now and then.
	t.Run("slow", func(t *testing.T) {
		bubble(t, 50, func(t *testing.T, s *setup) {
			s.script = []answer{func(o *origin, w response, _ *request) {
				for _, b := range o.content {
					time.Sleep(25 * time.Second)
					w.Write([]byte{b})
					flush(w)
				}
			}}
			s.opts.Client.Timeout = time.Minute // which is not used
			if err := fetch.File(t.Context(), s.opts); err != nil || len(s.requests) != 1 {
				t.Errorf("%v after %d requests", err, len(s.requests))
			}
			s.checkDone(t)
		})
	})
	// Nor is a server that waits for the disk, or for the caller.
	t.Run("slow caller", func(t *testing.T) {
		bubble(t, size, func(t *testing.T, s *setup) {
			s.opts.Progress = func(fetch.Progress) { time.Sleep(time.Minute) }
			if err := fetch.File(t.Context(), s.opts); err != nil || len(s.requests) != 1 {
				t.Errorf("%v after %d requests", err, len(s.requests))
			}
			s.checkDone(t)
		})
	})
}

// TestSecrets lets a download fail in every way, and looks for the secrets of
// its URL in errors and log.
func TestSecrets(t *testing.T) {
	redirect := func(to string) answer { return status(302, "Location", to) }
	for name, script := range map[string][]answer{
		"status":   {status(404)},
		"given up": {status(500), status(500)},
		"cut":      {cut(0), cut(0)},
		"no HTTP": {func(_ *origin, w response, _ *request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			c.Write([]byte("?canary\n"))
			c.Close()
		}},
		"bad redirect":        {redirect("https://example.com/%zz?canary3 canary4")},
		"redirect to a space": {redirect("https://exa mple/?canary3")},
		"redirect to http":    {redirect("http://example.com/?canary3")},
		"redirect to ftp":     {redirect("ftp://a:canary4@example.com/?canary3")},
		"redirect without":    {status(302)},
		"redirects":           slices.Repeat([]answer{redirect("/?canary3")}, 20),
		"digest":              {status(200)},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, size, func(t *testing.T, s *setup) {
				var log bytes.Buffer
				s.script = script
				s.opts.Retries = 1
				s.opts.AllowHTTP = true
				s.opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
				err := fetch.File(t.Context(), s.opts)
				if err == nil {
					if name == "no HTTP" || name == "cut" {
						return // the second attempt was better
					}
					t.Fatal("no error")
				}
				for e := err; e != nil; e = errors.Unwrap(e) {
					if strings.Contains(e.Error(), canary) {
						t.Errorf("%v", e)
					}
				}
				if strings.Contains(log.String(), canary) {
					t.Errorf("log: %s", &log)
				}
				if !strings.HasPrefix(err.Error(), "fetch: https://example.com/models/m.gguf: ") {
					t.Errorf("%v", err)
				}
				if insecure := name == "redirect to http" || name == "redirect to ftp"; insecure != errors.Is(err, fetch.ErrInsecure) {
					t.Errorf("%v", err)
				}
			})
		})
	}
}

// TestRedirect follows one to another host, which must not learn the URL. The
// client's own rule counts, too.
func TestRedirect(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.script = []answer{status(302, "Location", "https://other.example.com/file")}
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Fatal(err)
		}
		s.checkDone(t)
		if second := s.requests[1]; second.Get("Referer") != "" || second.Get("Authorization") != "" {
			t.Errorf("%v", second)
		}
	})
	bubble(t, size, func(t *testing.T, s *setup) {
		mine := errors.New("mine")
		s.opts.Client.CheckRedirect = func(*http.Request, []*http.Request) error { return mine }
		s.script = []answer{status(302, "Location", "https://other.example.com/file")}
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, mine) || len(s.requests) != 1 {
			t.Errorf("%v after %d requests", err, len(s.requests))
		}
	})
}

func TestInsecure(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.opts.URL = "http://example.com/m?canary"
		if err := fetch.File(t.Context(), s.opts); !errors.Is(err, fetch.ErrInsecure) || strings.Contains(err.Error(), canary) {
			t.Error(err)
		}
		s.opts.URL = "file:///m"
		s.opts.AllowHTTP = true
		if err := fetch.File(t.Context(), s.opts); err == nil {
			t.Error("a file")
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestHopeless fails before there is a server. Trying again takes a reason.
func TestHopeless(t *testing.T) {
	certificate := func(t *testing.T, s *setup) error {
		c := newClient(t, s.origin)
		c.Transport.(*http.Transport).TLSClientConfig.RootCAs = nil
		s.opts.Client = c
		return fetch.File(t.Context(), s.opts)
	}
	fails := func(failure error) func(t *testing.T, s *setup) error {
		return func(t *testing.T, s *setup) error {
			s.opts.Client = &http.Client{Transport: roundTripper(func(*http.Request) (*http.Response, error) { return nil, failure })}
			return fetch.File(t.Context(), s.opts)
		}
	}
	for name, tt := range map[string]struct {
		try      func(t *testing.T, s *setup) error
		hopeless bool
	}{
		"certificate": {certificate, true},
		"no host":     {fails(&net.DNSError{IsNotFound: true}), true},
		"no DNS":      {fails(&net.DNSError{IsTimeout: true}), false},
		"refused":     {fails(&net.OpError{Op: "dial", Err: context.DeadlineExceeded}), false},
	} {
		bubble(t, size, func(t *testing.T, s *setup) {
			began := time.Now()
			err := tt.try(t, s)
			if took := time.Since(began); err == nil || (took == 0) != tt.hopeless || strings.Contains(err.Error(), canary) {
				t.Errorf("%s: %v after %v", name, err, took)
			}
		})
	}
}

// TestPlain fetches without TLS where that is allowed.
func TestPlain(t *testing.T) {
	bubble(t, size, func(t *testing.T, s *setup) {
		s.opts.URL, s.opts.AllowHTTP = "http://example.com/m", true
		s.opts.Client = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Scheme != "http" {
				t.Errorf("%v", r.URL)
			}
			return &http.Response{StatusCode: 200, ContentLength: size, Body: io.NopCloser(bytes.NewReader(s.content)), Header: http.Header{}, Request: r}, nil
		})}
		if err := fetch.File(t.Context(), s.opts); err != nil {
			t.Error(err)
		}
		s.checkDone(t)
	})
}
