package badinput

import (
	"fmt"
	"strings"
)

// framingRows are requests that are wrong below any endpoint, for a server with
// a limit on headers, in bytes. The target is a POST endpoint's.
func framingRows(headers int, target string) []row {
	raw := func(input string, status int, reason, text string) row {
		return row{input: input, request: request{method: "POST", raw: text}, status: status, reason: reason, form: plainForm, ends: true}
	}
	head := "POST " + target + " HTTP/1.1\r\nHost: HOST\r\n"
	return []row{
		raw("a line that is no request", 400, "text: 400 Bad Request", "CANARY\r\n\r\n"),
		raw("the beginning of TLS", 400, "text: 400 Bad Request", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03CANARY\r\n\r\n"),
		raw("another version of HTTP", 505, "text: 505 HTTP Version Not Supported: unsupported protocol version", "POST "+target+" HTTP/9.9\r\nHost: HOST\r\n\r\n"),
		raw("HTTP/1.1 without Host", 400, "text: 400 Bad Request: missing required Host header", "POST "+target+" HTTP/1.1\r\n\r\n"),
		raw("two Hosts", 400, "text: 400 Bad Request", head+"Host: CANARY\r\n\r\n"),
		raw("a Host with a space", 400, "text: 400 Bad Request: malformed Host header", "POST "+target+" HTTP/1.1\r\nHost: a CANARY\r\n\r\n"),
		raw("a header without a colon", 400, "text: 400 Bad Request", head+"CANARY\r\n\r\n"),
		raw("a header with NUL", 400, "text: 400 Bad Request", head+"X-A: CANARY\x00\r\n\r\n"),
		raw("a header name with a space", 400, "text: 400 Bad Request: invalid header name", head+"X A: CANARY\r\n\r\n"),
		raw("headers over the limit", 431, "text: 431 Request Header Fields Too Large", head+"X-A: "+strings.Repeat("a", headers+8<<10)+"\r\n\r\n"),
		raw("a request line over the limit", 431, "text: 431 Request Header Fields Too Large", "GET /"+strings.Repeat("a", headers+8<<10)+" HTTP/1.1\r\n\r\n"),
		raw("two Content-Lengths that differ", 400, "text: 400 Bad Request", head+"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"),
		raw("a negative Content-Length", 400, "text: 400 Bad Request", head+"Content-Length: -1\r\n\r\n"),
		raw("a Content-Length over 63 bits", 400, "text: 400 Bad Request", head+fmt.Sprintf("Content-Length: %d0\r\n\r\n", uint64(1<<63))),
		raw("an unknown transfer encoding", 501, "text: Unsupported transfer encoding", head+"Transfer-Encoding: CANARY\r\n\r\n"),
		raw("chunked twice", 501, "text: Unsupported transfer encoding", head+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
		{input: "half a request, then the end", request: request{method: "POST", raw: head + "X-A: CANARY", cut: true}, status: 400, reason: "text: 400 Bad Request", form: plainForm, ends: true},
	}
}
