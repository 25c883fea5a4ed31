package openai

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Guard protects a server on a loopback address from the pages that its user
// looks at in a browser, which can send requests to it like any program.
//
//   - The Host must be localhost or a loopback address. A page whose own name
//     was made to point at 127.0.0.1 (DNS rebinding) has another one.
//   - An Origin must be the server's own, or one of allowedOrigins.
//   - Sec-Fetch-Site, by which browsers tell who asks where there is no Origin,
//     must say that it is the user, or the same origin. Another server of this
//     machine, which browsers call the same site, is another program.
//
// Others get 403 and OpenAI's form of error. The pages of allowedOrigins, such
// as "https://ui.example:8443", may use the whole API as CORS has it, except
// for cookies, of which there are none. An entry that is no origin, "*" and
// "null" among them, allows nothing.
//
// Guard does not look at who connects: listening on a loopback address, and
// telling this machine's users apart, is up to the server.
func Guard(next http.Handler, allowedOrigins ...string) http.Handler {
	g := &guard{next: next}
	for _, s := range allowedOrigins {
		if o, ok := parseOrigin(s); ok {
			g.allowed = append(g.allowed, o)
		}
	}
	return g
}

type guard struct {
	next    http.Handler
	allowed []origin
}

func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Vary", "Origin, Sec-Fetch-Site")
	if !loopback(r.Host) {
		forbid(w, "host_not_allowed", "this server answers to localhost and loopback addresses only")
		return
	}
	sites, origins := r.Header.Values("Sec-Fetch-Site"), r.Header.Values("Origin")
	if len(origins) > 1 || len(sites) > 1 {
		forbid(w, "origin_not_allowed", "the request names more than one origin")
		return
	}
	if len(origins) == 1 {
		o, ok := parseOrigin(origins[0])
		switch {
		case ok && slices.Contains(g.allowed, o):
			cors(h, origins[0])
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				preflight(w, r)
				return
			}
			g.next.ServeHTTP(w, r)
			return
		case !ok || o != ownOrigin(r):
			forbid(w, "origin_not_allowed", "pages of other origins may not use this server")
			return
		}
	}
	if len(sites) == 1 && sites[0] != "same-origin" && sites[0] != "none" {
		forbid(w, "origin_not_allowed", "pages of other origins may not use this server: type its address instead of following a link")
		return
	}
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	g.next.ServeHTTP(w, r)
}

func forbid(w http.ResponseWriter, code, message string) {
	w.Header().Set("Cache-Control", "no-store")
	(&apiError{status: http.StatusForbidden, kind: typePermission, code: code, message: message}).write(w)
}

// cors lets the page of an allowed origin read the response.
func cors(h http.Header, origin string) {
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "Retry-After, X-Request-Id, X-Should-Retry")
}

// preflight answers a browser that asks before it sends. The origin is trusted,
// so it may send the headers that it likes: OpenAI's library has a dozen.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, POST")
	if names := r.Header.Get("Access-Control-Request-Headers"); names != "" && len(names) <= 1024 && headerNames(names) {
		h.Set("Access-Control-Allow-Headers", names)
	}
	if r.Header.Get("Access-Control-Request-Private-Network") == "true" {
		h.Set("Access-Control-Allow-Private-Network", "true")
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

// headerNames reports whether s is a list of names of the letters, digits and
// hyphens that real headers have.
func headerNames(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == ',' || r == ' ')
	})
}

// loopback reports whether hostport, with or without a port, is a name of this
// machine that no other party decides on.
func loopback(hostport string) bool {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Zone() == "" && ip.Unmap().IsLoopback()
}

// origin is a parsed web origin, comparable with ==.
type origin struct{ scheme, host, port string }

// IsOrigin reports whether s is an origin that Guard can allow.
func IsOrigin(s string) bool {
	_, ok := parseOrigin(s)
	return ok
}

// parseOrigin reads an origin as browsers serialize it.
func parseOrigin(s string) (origin, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Hostname() == "" || s != u.Scheme+"://"+u.Host {
		return origin{}, false
	}
	o := origin{u.Scheme, strings.ToLower(u.Hostname()), u.Port()}
	switch {
	case o.scheme != "http" && o.scheme != "https":
		return origin{}, false
	case o.port != "":
	case o.scheme == "http":
		o.port = "80"
	default:
		o.port = "443"
	}
	return o, true
}

// ownOrigin is the origin of the server's own pages, for this request.
func ownOrigin(r *http.Request) origin {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	o, _ := parseOrigin(scheme + "://" + r.Host)
	return o
}
