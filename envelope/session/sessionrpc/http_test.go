package sessionrpc_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
)

func TestHTTPOptions(t *testing.T) {
	for _, url := range []string{"", "parent:5001", "ftp://parent", "http://", "http://user@parent", "http://parent?q=1", "http://parent#x", "http://%zz"} {
		if tr, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: url}); err == nil || tr != nil {
			t.Errorf("%q: accepted", url)
		}
	}
}

// TestHTTPRefusals has a parent refuse by itself.
func TestHTTPRefusals(t *testing.T) {
	for name, test := range map[string]struct {
		status     int
		retryAfter string
		body       string
		want       sessionrpc.HTTPError
		is         error
	}{
		"a word of the enclave": {409, "", `{"error":{"code":"key_unknown"}}`, sessionrpc.HTTPError{Status: 409, Code: "key_unknown"}, session.ErrKeyUnknown},
		"overloaded":            {503, "7", `{"error":{"code":"overloaded"}}`, sessionrpc.HTTPError{Status: 503, Code: "overloaded", RetryAfter: 7 * time.Second}, session.ErrBusy},
		"an unknown word":       {500, "", `{"error":{"code":"coffee"}}`, sessionrpc.HTTPError{Status: 500, Code: "coffee"}, nil},
		"not a word":            {500, "", `{"error":{"code":"<b>Key</b>"}}`, sessionrpc.HTTPError{Status: 500}, nil},
		"too long a word":       {500, "", `{"error":{"code":"` + strings.Repeat("x", 65) + `"}}`, sessionrpc.HTTPError{Status: 500}, nil},
		"not JSON":              {502, "", "<html>Bad gateway</html>", sessionrpc.HTTPError{Status: 502}, nil},
		"a large body":          {502, "", `{"error":{"code":"x","y":"` + strings.Repeat("y", 1<<20), sessionrpc.HTTPError{Status: 502}, nil},
		"wait for a year":       {429, "99999999", "", sessionrpc.HTTPError{Status: 429, RetryAfter: time.Hour}, nil},
		"wait for less than 0":  {429, "-5", "", sessionrpc.HTTPError{Status: 429}, nil},
		"a date":                {429, "Wed, 21 Oct 2026 07:28:00 GMT", "", sessionrpc.HTTPError{Status: 429}, nil},
		"no content":            {204, "", "", sessionrpc.HTTPError{Status: 204}, nil},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			if test.retryAfter != "" {
				w.Header().Set("Retry-After", test.retryAfter)
			}
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		transport := (&served{t: t}).http(srv.URL)
		check := func(err error) {
			t.Helper()
			got, ok := errors.AsType[*sessionrpc.HTTPError](err)
			if !ok || *got != test.want || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
		}
		_, err := transport.Attest(t.Context(), nil)
		check(err)
		for segment, err := range transport.Ask(t.Context(), nil) {
			if check(err); segment != nil {
				t.Errorf("%s: a segment beside an error", name)
			}
		}
		srv.Close()
		if _, err := transport.Attest(t.Context(), nil); !errors.Is(err, sessionrpc.ErrUnreachable) {
			t.Errorf("unreachable: %v", err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		srv := httptest.NewServer(http.RedirectHandler(other.URL, status))
		_, err := (&served{t: t}).http(srv.URL).Attest(t.Context(), []byte("request"))
		if e, ok := errors.AsType[*sessionrpc.HTTPError](err); !ok || e.Status != status {
			t.Errorf("%d: %v", status, err)
		}
		srv.Close()
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// TestHostileBodies has a parent write what no relay would.
func TestHostileBodies(t *testing.T) {
	s := serve(t, echo)
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"nothing":            {"", session.ErrTruncated},
		"a part of a length": {"\x00\x00", session.ErrTruncated},
		"a length only":      {"\x00\x00\x00\x05", session.ErrTruncated},
		"a part":             {"\x00\x00\x00\x05ab", session.ErrTruncated},
		"an empty segment":   {"\x00\x00\x00\x00", session.ErrSegment},
		"oversize":           {"\x00\x10\x20\x01" + strings.Repeat("x", 100), session.ErrTooLarge},
		"huge":               {"\xff\xff\xff\xffx", session.ErrTooLarge},
		"not a segment":      {"\x00\x00\x00\x50" + strings.Repeat("x", 0x50), session.ErrSegment},
	} {
		transport := s.parent(func(w http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, test.body)
			return true
		})
		if got, err := ask(t.Context(), s.client(transport), "q"); got != "" || !errors.Is(err, test.want) {
			t.Errorf("%s: %q, %v; want %v", name, got, err, test.want)
		}
	}
}
