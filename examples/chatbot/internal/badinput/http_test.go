package badinput

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// canaryMark stands in a row for the row's own canary.
const canaryMark = "CANARY"

// patience bounds one exchange. It is reached by hanging only.
const patience = 30 * time.Second

// request is one HTTP request, byte by byte as the row says.
type request struct {
	method, target string
	host           string   // "" means the server's own
	header         []string // "Name: value"
	body           string
	// unsized leaves Content-Length out, for rows that bring their own framing.
	unsized bool
	// raw takes the place of all of the above.
	raw string
	// cut closes the sending side behind the request, which ends the connection.
	cut bool
}

// with is r with more header fields.
func (r request) with(header ...string) request {
	r.header = append(slices.Clip(r.header), header...)
	return r
}

// bytes writes the request down.
func (r request) bytes(host, canary string) []byte {
	fill := func(s string) string { return strings.ReplaceAll(s, canaryMark, canary) }
	if r.raw != "" {
		return []byte(strings.ReplaceAll(fill(r.raw), "HOST", host))
	}
	if r.host != "" {
		host = r.host
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.method, fill(r.target), fill(host))
	for _, h := range r.header {
		b.WriteString(fill(h) + "\r\n")
	}
	body := fill(r.body)
	if !r.unsized && (body != "" || r.method == http.MethodPost) {
		b.WriteString("Content-Length: " + strconv.Itoa(len(body)) + "\r\n")
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	close  bool
}

// form reads the machine-readable reason of a failed request, and fails for a
// body that is not of the documented form.
type form func(a answer) (reason string, err error)

// row is one bad input to an HTTP endpoint.
type row struct {
	input string
	request
	// made takes the place of request where that needs the world.
	made   func(w *world, canary string) request
	status int
	reason string // "" where it is answered
	// form is how failures look where it is not as the endpoint has it.
	form form
	// ends: the server ends the connection, whose state it cannot know.
	ends bool
	// echoes: the answer repeats a name that the client itself sent, by its
	// documentation.
	echoes bool
}

// endpoint is one of a server's, with its rows.
type endpoint struct {
	name string
	// source is the pattern in the source, as it is written there, or a KMS
	// operation.
	source string
	addr   func(*world) string
	// good is a request that is answered with 200.
	good func(w *world, canary string) request
	form form
	rows []row
}

// line is one line of the catalogue.
type line struct{ endpoint, input, answer, reason, after string }

// dial connects to an HTTP server.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(patience))
	return nc
}

// exchange sends a request and reads the answer to its end.
func exchange(nc net.Conn, in *bufio.Reader, method string, raw []byte, cut bool) (answer, error) {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		nc.Write(raw) // fails where the server has heard enough
		if cut {
			nc.(*net.TCPConn).CloseWrite()
		}
	}()
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	if resp.Close {
		io.Copy(io.Discard, in) // the server closes, whatever was on its way
	}
	<-sent
	return answer{resp.StatusCode, resp.Header, body, resp.Close}, nil
}

// run runs the rows of an endpoint, and returns their lines.
func (e *endpoint) run(t *testing.T, w *world) (lines []line) {
	for i, r := range e.rows {
		canary := newCanary()
		l := line{e.name, r.input, fmt.Sprintf("HTTP %d", r.status), r.reason, "goes on"}
		if r.reason == "" {
			l.reason = "–"
		}
		if r.ends {
			l.after = "ends"
		}
		lines = append(lines, l)
		t.Run(fmt.Sprintf("%s/%d", e.name, i), func(t *testing.T) {
			t.Log(r.input)
			if r.made != nil {
				r.request = r.made(w, canary)
			}
			if r.form == nil {
				r.form = e.form
			}
			r.check(t, w, e, canary)
		})
	}
	return lines
}

// check sends one row's request, and a good one after it.
func (r *row) check(t *testing.T, w *world, e *endpoint, canary string) {
	addr := e.addr(w)
	nc := dial(t, addr)
	defer nc.Close()
	in := bufio.NewReader(nc)
	a, err := exchange(nc, in, r.method, r.bytes(addr, canary), r.cut)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	if a.status != r.status {
		t.Errorf("HTTP %d %q, not %d", a.status, a.body, r.status)
	}
	if r.method != http.MethodHead && r.status >= 300 {
		reason, err := r.form(a)
		if err != nil {
			t.Errorf("%v: %q %q", err, a.header.Get("Content-Type"), a.body)
		} else if reason != r.reason {
			t.Errorf("reason %q, not %q", reason, r.reason)
		}
	}
	if said := fmt.Sprintf("%s %v", a.body, a.header); !r.echoes && strings.Contains(said, canary) {
		t.Errorf("the answer repeats the canary: %s", said)
	}
	switch {
	case a.close != r.ends && !r.cut:
		t.Errorf("ends the connection: %v, not %v", a.close, r.ends)
	case r.ends:
		nc = dial(t, addr)
		defer nc.Close()
		in = bufio.NewReader(nc)
	}
	fresh := newCanary()
	good := e.good(w, fresh)
	a, err = exchange(nc, in, good.method, good.bytes(addr, fresh), false)
	if err != nil {
		t.Fatalf("a good request afterwards: %v", err)
	}
	if a.status != http.StatusOK {
		t.Errorf("a good request afterwards: HTTP %d %q", a.status, a.body)
	}
	for _, c := range []string{canary, fresh} {
		if w.log.contains(c) {
			t.Errorf("a log has the canary %s", c)
		}
	}
}

var errForm = errors.New("the body is not of the documented form")

// jsonForm reads a documented JSON error strictly into v.
func jsonForm(a answer, contentType string, v any) error {
	d := json.NewDecoder(bytes.NewReader(a.body))
	d.DisallowUnknownFields()
	if a.header.Get("Content-Type") != contentType || d.Decode(v) != nil || d.More() {
		return errForm
	}
	return nil
}

// plainForm is that of net/http's own refusals, before any handler and from its
// mux: one line of text.
func plainForm(a answer) (string, error) {
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || bytes.Count(bytes.TrimSpace(a.body), []byte("\n")) > 0 {
		return "", errForm
	}
	return "text: " + strings.TrimSpace(string(a.body)), nil
}

// redirectForm is that of a mux whose paths are not spelled as they should be.
func redirectForm(a answer) (string, error) {
	if a.header.Get("Location") == "" {
		return "", errForm
	}
	return "Location: " + a.header.Get("Location"), nil
}
