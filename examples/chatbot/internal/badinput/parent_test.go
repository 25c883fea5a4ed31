package badinput

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
)

// relayForm is that of the parent's own refusals.
func relayForm(a answer) (string, error) {
	var body struct {
		Error struct{ Code, Message string }
	}
	if err := jsonForm(a, "application/json", &body); err != nil || body.Error.Message == "" {
		return "", errForm
	}
	return body.Error.Code, nil
}

// blogForm is that of the blog mode, whose client knows no codes.
func blogForm(a answer) (string, error) {
	var body struct {
		Error string `json:"error"`
	}
	if err := jsonForm(a, "application/json", &body); err != nil || body.Error == "" {
		return "", errForm
	}
	return body.Error, nil
}

const asSealed = "Content-Type: application/vnd.nitroseal.session"

// sealed is a request of a session.
func sealed(target, body string) request {
	return request{method: http.MethodPost, target: target, header: []string{asSealed}, body: body}
}

var goodAttest = "NSA1" + strings.Repeat("n", session.NonceSize)

func parent(w *world) string { return w.parent }

func attests(*world, string) request { return sealed(sessionrpc.PathAttest, goodAttest) }

func parentEndpoints() []endpoint {
	return []endpoint{
		{name: "parent: POST " + sessionrpc.PathAttest, source: "sessionrpc.PathAttest", addr: parent, form: relayForm, good: attests, rows: attestRows()},
		{name: "parent: POST " + sessionrpc.PathAsk, source: "sessionrpc.PathAsk", addr: parent, form: relayForm, good: attests, rows: askRows()},
		{name: "parent: POST / (blog mode)", source: `"POST /{$}"`, addr: parent, form: blogForm, good: attests, rows: blogRows()},
		{name: "parent: other paths", addr: parent, form: plainForm, good: attests, rows: []row{
			{input: "a path that is not there", request: sealed("/v1/session/CANARY", goodAttest), status: 404, reason: "text: 404 page not found"},
			{input: "a slash behind a path", request: sealed(sessionrpc.PathAttest+"/", goodAttest), status: 404, reason: "text: 404 page not found"},
			{input: "GET /", request: request{method: "GET", target: "/"}, status: 405, reason: "text: Method Not Allowed"},
			{input: "the operators' metrics", request: request{method: "GET", target: "/metrics"}, status: 404, reason: "text: 404 page not found"},
			{input: "OPTIONS *", request: request{method: "OPTIONS", target: "*"}, status: 200},
			{input: "CONNECT, as to a proxy", request: request{method: "CONNECT", target: "CANARY.example:443", host: "CANARY.example:443"}, status: 405, reason: "text: Method Not Allowed"},
		}},
		{name: "parent: HTTP itself", addr: parent, form: plainForm, good: attests, rows: framingRows(16<<10, sessionrpc.PathAttest)},
	}
}

func attestRows() []row {
	p := sessionrpc.PathAttest
	bad := func(input, body string) row {
		return row{input: input, request: sealed(p, body), status: 400, reason: "bad_request"}
	}
	return []row{
		{input: "method GET", request: request{method: "GET", target: p, header: []string{asSealed}}, status: 405, reason: "method_not_allowed"},
		{input: "method HEAD", request: request{method: "HEAD", target: p, header: []string{asSealed}}, status: 405, reason: "–"},
		{input: "method OPTIONS, a browser's preflight", request: request{method: "OPTIONS", target: p, header: []string{"Origin: https://CANARY.example", "Access-Control-Request-Method: POST"}}, status: 405, reason: "method_not_allowed"},
		{input: "no content type", request: request{method: "POST", target: p, body: goodAttest}, status: 400, reason: "bad_request"},
		{input: "content type text/plain, which pages of other sites may send", request: request{method: "POST", target: p, header: []string{"Content-Type: text/plain"}, body: goodAttest}, status: 400, reason: "bad_request"},
		{input: "content type that does not parse", request: request{method: "POST", target: p, header: []string{asSealed + "; CANARY"}, body: goodAttest}, status: 400, reason: "bad_request"},
		bad("an empty body", ""),
		bad("a wrong magic number", "NSQ1"+goodAttest[4:]),
		bad("a nonce of 31 bytes", goodAttest[:len(goodAttest)-1]),
		bad("a byte behind the nonce", goodAttest+"x"),
		bad("JSON", `{"nonce":"CANARY"}`),
		bad("a body of 1 KiB, the most that is passed on", strings.Repeat("x", 1<<10)),
		{input: "content encoding gzip", request: sealed(p, "\x1f\x8b\x08CANARY").with("Content-Encoding: gzip"), status: 400, reason: "bad_request"},
		{input: "a body over 1 KiB", request: sealed(p, goodAttest+strings.Repeat("x", 1<<10)), status: 413, reason: "too_large"},
		{input: "a chunked body over 1 KiB", request: request{method: "POST", target: p, header: []string{asSealed, "Transfer-Encoding: chunked"}, unsized: true, body: "401\r\n" + strings.Repeat("x", 1025) + "\r\n0\r\n\r\n"}, status: 413, reason: "too_large", ends: true},
		{input: "a Content-Length of 2^62, and no body", request: request{method: "POST", target: p, header: []string{asSealed, "Content-Length: 4611686018427387904"}, unsized: true}, status: 413, reason: "too_large", ends: true},
		{input: "a timeout of 0", request: sealed(p, goodAttest).with("Nitroseal-Timeout-Ms: 0"), status: 400, reason: "bad_request"},
		{input: "a timeout of -1", request: sealed(p, goodAttest).with("Nitroseal-Timeout-Ms: -1"), status: 400, reason: "bad_request"},
		{input: "a timeout that is no number", request: sealed(p, goodAttest).with("Nitroseal-Timeout-Ms: CANARY"), status: 400, reason: "bad_request"},
		{input: "a timeout over 63 bits", request: sealed(p, goodAttest).with("Nitroseal-Timeout-Ms: 9223372036854775808"), status: 400, reason: "bad_request"},
		{input: "a timeout over the most, which counts as the most", request: sealed(p, goodAttest).with("Nitroseal-Timeout-Ms: 9223372036854775807"), status: 200},
		{input: "a body that does not come within the request's own timeout", request: request{method: "POST", target: p, header: []string{asSealed, "Nitroseal-Timeout-Ms: 1", "Content-Length: 36"}, unsized: true, body: "NSA1"}, status: 504, reason: "deadline_exceeded", ends: true},
		{input: "a body that is cut off", request: request{method: "POST", target: p, header: []string{asSealed, "Content-Length: 36"}, unsized: true, body: "NSA1", cut: true}, status: 400, reason: "bad_request", ends: true},
		{input: "a query", request: sealed(p+"?CANARY", goodAttest), status: 200},
	}
}

// clearHeader is the part of a sealed request in clear: magic number, key, id, time
// and the encapsulation's length.
func clearHeader(key [8]byte, id byte, at time.Time, encapsulation int) []byte {
	b := append([]byte("NSQ1"), key[:]...)
	b = append(b, slices.Repeat([]byte{id}, 16)...)
	b = binary.BigEndian.AppendUint64(b, uint64(at.UnixMilli()))
	return binary.BigEndian.AppendUint16(b, uint16(encapsulation))
}

// forged is a request for the enclave's key that nobody sealed.
func forged(w *world, id byte, at time.Time, encapsulation, rest int) string {
	return string(clearHeader(w.keyID(), id, at, encapsulation)) + strings.Repeat("f", rest)
}

func askRows() []row {
	p := sessionrpc.PathAsk
	const size = 32 + 1024 + 16 // of encapsulation, padded payload and tag
	bad := func(input, body string) row {
		return row{input: input, request: sealed(p, body), status: 400, reason: "bad_request"}
	}
	made := func(input string, status int, reason string, body func(w *world) string) row {
		return row{input: input, status: status, reason: reason, request: request{method: "POST"}, made: func(w *world, _ string) request {
			return sealed(p, body(w))
		}}
	}
	return []row{
		{input: "method GET", request: request{method: "GET", target: p}, status: 405, reason: "method_not_allowed"},
		{input: "content type application/json", request: post(p, `{"question":"CANARY"}`), status: 400, reason: "bad_request"},
		bad("an empty body", ""),
		bad("a question in clear", "CANARY"+strings.Repeat(" ", 100)),
		bad("a header that is cut off", string(clearHeader([8]byte{}, 1, time.Now(), 32))[:37]),
		bad("no encapsulation", string(clearHeader([8]byte{}, 1, time.Now(), 0))+strings.Repeat("x", 100)),
		bad("an encapsulation longer than the request", string(clearHeader([8]byte{}, 1, time.Now(), 65535))+strings.Repeat("x", 100)),
		bad("a time after the year 9999", string(clearHeader([8]byte{}, 1, time.UnixMilli(1<<62), 32))+strings.Repeat("x", 100)),
		{input: "a key that no enclave has", request: sealed(p, string(clearHeader([8]byte{1}, 1, time.Now(), 32))+strings.Repeat("x", 2000)), status: 409, reason: "key_unknown"},
		made("a request that nobody sealed", 400, "not_opened", func(w *world) string { return forged(w, 2, time.Now(), 32, size) }),
		made("an encapsulation of the wrong length", 400, "not_opened", func(w *world) string { return forged(w, 3, time.Now(), 31, size) }),
		made("a time of an hour ago", 400, "stale_request", func(w *world) string { return forged(w, 4, time.Now().Add(-time.Hour), 32, size) }),
		made("a time in an hour", 400, "stale_request", func(w *world) string { return forged(w, 5, time.Now().Add(time.Hour), 32, size) }),
		made("a sealed request with a bit flipped", 400, "not_opened", func(w *world) string {
			b := w.capture()
			b[len(b)-1] ^= 1
			return string(b)
		}),
		made("a sealed request with another id, which is in clear", 400, "not_opened", func(w *world) string {
			b := w.capture()
			b[12] ^= 1
			return string(b)
		}),
		made("a sealed request for the second time", 409, "replayed", func(w *world) string {
			b := w.capture()
			if err := w.deliver(b); err != nil {
				return fmt.Sprint(err)
			}
			return string(b)
		}),
		{input: "a body over the limit", status: 413, reason: "too_large", request: request{method: "POST", target: p, header: []string{asSealed, fmt.Sprintf("Content-Length: %d", session.MaxRequest+1)}, unsized: true}, ends: true},
		{input: "a chunked body over the limit", request: request{method: "POST", target: p, header: []string{asSealed, "Transfer-Encoding: chunked"}, unsized: true, body: fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", session.MaxRequest+1, strings.Repeat("x", session.MaxRequest+1))}, status: 413, reason: "too_large", ends: true},
	}
}

// blogBody is the post's message with one member replaced; raw is JSON.
func blogBody(w *world, name, raw string) string {
	members := [][2]string{
		{"access_key_id", `"` + accessKey + `"`}, {"secret_access_key", `"` + secretKey + `"`}, {"token", `"` + sessionToken + `"`},
		{"region", `"` + region + `"`}, {"ciphertext", `"` + base64.StdEncoding.EncodeToString(w.question()) + `"`},
	}
	var all []string
	for _, m := range members {
		if m[0] == name {
			m[1] = raw
		}
		if m[1] != "" {
			all = append(all, fmt.Sprintf("%q: %s", m[0], m[1]))
		}
	}
	return "{" + strings.Join(all, ", ") + "}"
}

func blogRows() []row {
	const form = "the request is not of the documented form"
	bad := func(input, body string) row {
		return row{input: input, request: post("/", body), status: 400, reason: form}
	}
	with := func(input, name, raw string, status int, reason string) row {
		return row{input: input, status: status, reason: reason, request: request{method: "POST"}, made: func(w *world, _ string) request {
			return post("/", blogBody(w, name, raw))
		}}
	}
	return []row{
		bad("an empty body", ""),
		bad("no JSON", "CANARY"),
		bad("an array", `["CANARY"]`),
		bad("null", "null"),
		bad("an empty object", "{}"),
		bad("10,000 nested arrays", strings.Repeat("[", 10000)+strings.Repeat("]", 10000)),
		with("no ciphertext", "ciphertext", "", 400, form),
		with("no region", "region", "", 400, form),
		with("a ciphertext that is no base64", "ciphertext", `"CANARY!"`, 400, form),
		with("an empty ciphertext", "ciphertext", `""`, 400, form),
		with("a ciphertext that is a number", "ciphertext", `5`, 400, form),
		with("a ciphertext that is an object", "ciphertext", `{"a": "CANARY"}`, 400, form),
		with("an access key with a line break, which would be a header of its own", "access_key_id", `"CANARY\r\nX-Evil: 1"`, 400, form),
		with("a secret key that is null", "secret_access_key", `null`, 400, form),
		with("a member twice", "region", `"us-east-1", "region": "CANARY"`, 400, form),
		with("an unknown member", "region", `"us-east-1", "CANARY": "x"`, 400, form),
		with("a member in capitals", "region", `"us-east-1", "Region": "CANARY"`, 400, form),
		with("bytes that are not UTF-8", "token", "\"CANARY\xff\"", 400, form),
		with("data behind the object", "ciphertext", `"AAAA"} {"a": "CANARY"`, 400, form),
		with("another region, which would choose where the enclave connects to", "region", `"CANARY.example"`, 400, "the enclave serves another AWS region"),
		{input: "a body over 64 KiB", request: post("/", `{"token": "`+strings.Repeat("x", 64<<10)+`"}`), status: 413, reason: "the request is larger than the server takes"},
		{input: "a body over 64 KiB by more than Go's server skips", request: post("/", `{"token": "`+strings.Repeat("x", 1<<20)+`"}`), status: 413, reason: "the request is larger than the server takes", ends: true},
		{input: "a chunked body over 64 KiB", request: request{method: "POST", target: "/", header: []string{asJSON, "Transfer-Encoding: chunked"}, unsized: true, body: "10001\r\n" + strings.Repeat("x", 64<<10+1) + "\r\n0\r\n\r\n"}, status: 413, reason: "the request is larger than the server takes"},
		{input: "a body that is cut off", request: request{method: "POST", target: "/", header: []string{"Content-Length: 100"}, unsized: true, body: `{"token": "CANARY`, cut: true}, status: 400, reason: form, ends: true},
		with("a ciphertext that is none of KMS's, answered as in the post with 200", "ciphertext", `"AAAA"`, 200, ""),
		with("credentials that KMS does not know, answered as in the post with 200", "access_key_id", `"CANARY"`, 200, ""),
	}
}
