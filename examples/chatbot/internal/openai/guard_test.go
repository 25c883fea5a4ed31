package openai

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestGuard(t *testing.T) {
	const ok, no = http.StatusTeapot, http.StatusForbidden
	for _, tt := range []struct {
		name, host, origin, site string
		want                     int
	}{
		{"a program", "127.0.0.1:8080", "", "", ok},
		{"by name", "localhost:8080", "", "", ok},
		{"by name in capitals", "LocalHost:8080", "", "", ok},
		{"without a port", "localhost", "", "", ok},
		{"another loopback address", "127.9.9.9:1", "", "", ok},
		{"IPv6", "[::1]:8080", "", "", ok},
		{"IPv6 without a port", "[::1]", "", "", ok},
		{"IPv4 in IPv6", "[::ffff:127.0.0.1]:8080", "", "", ok},
		{"a rebound name", "evil.example:8080", "", "", no},
		{"a name that looks right", "localhost.evil.example", "", "", no},
		{"a subdomain of localhost", "evil.localhost", "", "", no},
		{"an address that looks right", "127.0.0.1.evil.example:80", "", "", no},
		{"an address of the network", "192.0.2.1:8080", "", "", no},
		{"all addresses", "0.0.0.0:8080", "", "", no},
		{"a zone", "[::1%25lo]:8080", "", "", no},
		{"no host", "", "", "", no},

		{"own page", "127.0.0.1:8080", "http://127.0.0.1:8080", "same-origin", ok},
		{"own page by name", "localhost:8080", "http://localhost:8080", "same-origin", ok},
		{"own page on the default port", "localhost", "http://localhost", "", ok},
		{"the same in full", "localhost:80", "http://localhost", "", ok},
		{"a page of the web", "127.0.0.1:8080", "https://evil.example", "cross-site", no},
		{"the same in an old browser", "127.0.0.1:8080", "https://evil.example", "", no},
		{"a rebound page", "evil.example:8080", "http://evil.example:8080", "same-origin", no},
		{"another port", "127.0.0.1:8080", "http://127.0.0.1:3000", "same-site", no},
		{"another scheme", "127.0.0.1:8080", "https://127.0.0.1:8080", "", no},
		{"another name of the same", "127.0.0.1:8080", "http://localhost:8080", "", no},
		{"a sandboxed frame", "127.0.0.1:8080", "null", "cross-site", no},
		{"a sandboxed frame in an old browser", "127.0.0.1:8080", "null", "", no},
		{"no origin at all", "127.0.0.1:8080", "http://", "", no},
		{"a path", "127.0.0.1:8080", "http://127.0.0.1:8080/", "", no},
		{"a user", "127.0.0.1:8080", "http://x@127.0.0.1:8080", "", no},

		{"the address was typed", "127.0.0.1:8080", "", "none", ok},
		{"an image on another page", "127.0.0.1:8080", "", "cross-site", no},
		{"an image on another port's page", "127.0.0.1:8080", "", "same-site", no},
		{"a word of the future", "127.0.0.1:8080", "", "same-planet", no},
		{"own origin, but another site", "127.0.0.1:8080", "http://127.0.0.1:8080", "cross-site", no},

		{"an allowed page", "127.0.0.1:8080", "https://ui.example", "cross-site", ok},
		{"with its port", "127.0.0.1:8080", "https://ui.example:443", "", ok},
		{"an allowed page, rebound", "ui.example", "https://ui.example", "cross-site", no},
		{"its other port", "127.0.0.1:8080", "https://ui.example:8443", "cross-site", no},
		{"its other scheme", "127.0.0.1:8080", "http://ui.example", "cross-site", no},
		{"a page that begins like it", "127.0.0.1:8080", "https://ui.example.evil.example", "cross-site", no},
	} {
		h := Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(ok)
		}), "https://ui.example", "*", "null", "ftp://x.example", "")
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "/", nil)
			r.Host = tt.host
			if tt.origin != "" {
				r.Header.Set("Origin", tt.origin)
			}
			if tt.site != "" {
				r.Header.Set("Sec-Fetch-Site", tt.site)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != tt.want {
				t.Errorf("%s: %s gets HTTP %d, want %d", tt.name, method, w.Code, tt.want)
			}
			if w.Code == no {
				refusal(t, w)
			}
			cors := ""
			if tt.want == ok && strings.HasPrefix(tt.origin, "https://ui.example") {
				cors = tt.origin
			}
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != cors {
				t.Errorf("%s: Access-Control-Allow-Origin %q, want %q", tt.name, got, cors)
			}
			if w.Header().Get("Access-Control-Allow-Credentials") != "" || w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: headers %v", tt.name, w.Header())
			}
		}
	}
}

func TestGuardTwoOrigins(t *testing.T) {
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		r := request(http.MethodGet, "/v1/models", "")
		r.Header[name] = []string{"http://127.0.0.1:8080", "https://evil.example"}
		if w := serve(Options{Asker: hello()}, r); w.Code != http.StatusForbidden {
			t.Errorf("two of %s: HTTP %d", name, w.Code)
		}
	}
}

func TestPreflight(t *testing.T) {
	opts := Options{Asker: hello(), Token: "t0ken", AllowedOrigins: []string{"https://ui.example"}}
	ask := func(origin, headers string) *httptest.ResponseRecorder {
		r := request(http.MethodOptions, chatPath, "")
		r.Header.Set("Origin", origin)
		r.Header.Set("Access-Control-Request-Method", "POST")
		r.Header.Set("Access-Control-Request-Private-Network", "true")
		r.Header.Set("Access-Control-Request-Headers", headers)
		return serve(opts, r)
	}
	w := ask("https://ui.example", "authorization,content-type,x-stainless-lang")
	h := w.Header()
	if w.Code != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != "https://ui.example" ||
		h.Get("Access-Control-Allow-Methods") != "GET, POST" || h.Get("Access-Control-Allow-Headers") != "authorization,content-type,x-stainless-lang" ||
		h.Get("Access-Control-Allow-Private-Network") != "true" || h.Get("Vary") == "" {
		t.Errorf("HTTP %d, %v", w.Code, h)
	}
	if w := ask("https://ui.example", "x y\r\nset-cookie: z"); w.Header().Get("Access-Control-Allow-Headers") != "" {
		t.Errorf("repeats what are no names of headers: %v", w.Header())
	}
	if w := ask("https://evil.example", "authorization"); w.Code != http.StatusForbidden || w.Header().Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another origin: HTTP %d, %v", w.Code, w.Header())
	}

	// After the preflight comes the request, which needs the token like any.
	r := request(http.MethodPost, chatPath, chatBody(""))
	r.Header.Set("Origin", "https://ui.example")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	if w := serve(opts, r); w.Code != http.StatusUnauthorized || w.Header().Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("without the token: HTTP %d, %v", w.Code, w.Header())
	}
	r.Header.Set("Authorization", "Bearer t0ken")
	r.Body = request(http.MethodPost, chatPath, chatBody("")).Body
	if w := serve(opts, r); w.Code != http.StatusOK || w.Header().Get("Access-Control-Allow-Origin") != "https://ui.example" {
		t.Errorf("with the token: HTTP %d, %s", w.Code, w.Body)
	}
}

// The API is behind the guard without anybody asking for it.
func TestHandlerIsGuarded(t *testing.T) {
	for _, path := range []string{"/v1/models", "/v1/models/" + modelID, chatPath, completionPath, "/"} {
		a := hello()
		r := request(http.MethodPost, path, chatBody(""))
		r.Header.Set("Origin", "https://evil.example")
		if w := serve(Options{Asker: a}, r); w.Code != http.StatusForbidden || len(a.questions) > 0 {
			t.Errorf("%s: HTTP %d, %d questions", path, w.Code, len(a.questions))
		}
	}
}
