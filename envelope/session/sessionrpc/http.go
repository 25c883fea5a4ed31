package sessionrpc

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// The paths, content types and header of the HTTP form.
const (
	PathAttest = "/v1/session/attest"
	PathAsk    = "/v1/session/ask"

	contentTypeRequest  = "application/vnd.nitroseal.session"
	contentTypeSegments = "application/vnd.nitroseal.segments"
	headerTimeout       = "Nitroseal-Timeout-Ms"

	// maxErrorBody bounds the body of a failed request, in bytes.
	maxErrorBody = 4 << 10
)

// ErrUnreachable says that no connection to the parent came about, or that it
// broke before an answer.
var ErrUnreachable = errors.New("sessionrpc: the parent cannot be reached")

// HTTPError is how a parent refused a request.
type HTTPError struct {
	// Status is the HTTP status.
	Status int
	// Code is the parent's word for why, or empty: at most 64 lower-case
	// letters and underscores. Anything between may have written it.
	Code string
	// RetryAfter is how long the parent asks to wait, or 0; at most an hour.
	RetryAfter time.Duration
}

func (e *HTTPError) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("sessionrpc: the parent answered HTTP %d", e.Status)
	}
	return fmt.Sprintf("sessionrpc: the parent answered HTTP %d, %s", e.Status, e.Code)
}

// HTTPOptions configures NewHTTPTransport.
type HTTPOptions struct {
	// URL is the parent's base URL, such as https://parent.example:5001.
	// Plain http shows the network who asks, when and how much, and nothing
	// else.
	URL string
	// Client sends the requests. nil means one without a time-out of its own:
	// the context's deadline rules.
	Client *http.Client
}

// NewHTTPTransport returns a transport through a parent's Relay.
func NewHTTPTransport(opts HTTPOptions) (session.Transport, error) {
	u, err := url.Parse(opts.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("sessionrpc: the parent's URL must be http://HOST:PORT or https://HOST:PORT")
	}
	client := &http.Client{}
	if opts.Client != nil {
		*client = *opts.Client
	} else {
		client.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout: 10 * time.Second,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
			ForceAttemptHTTP2:   true,
		}
	}
	// A sealed request is for one enclave, wherever a redirect may lead.
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &httpTransport{client, u.JoinPath(PathAttest).String(), u.JoinPath(PathAsk).String()}, nil
}

type httpTransport struct {
	client      *http.Client
	attest, ask string
}

// post sends one request. The caller closes the body of a good answer.
func (t *httpTransport) post(ctx context.Context, to string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("sessionrpc: the parent's URL cannot be used")
	}
	req.Header.Set("Content-Type", contentTypeRequest)
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set(headerTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	resp, err := t.client.Do(req)
	if err != nil {
		if ended := endOf(ctx); ended != nil {
			return nil, ended
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		return nil, httpError(resp)
	}
	return resp, nil
}

func (t *httpTransport) Attest(ctx context.Context, request []byte) ([]byte, error) {
	resp, err := t.post(ctx, t.attest, request)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, session.MaxAttestAnswer+1))
	if err != nil {
		return nil, bodyError(ctx, err)
	}
	return answer, nil
}

func (t *httpTransport) Ask(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		// Leaving the loop ends the request, and with it the enclave's work.
		ctx, cancel := context.WithCancel(ctx)
		resp, err := t.post(ctx, t.ask, request)
		if err != nil {
			cancel()
			yield(nil, err)
			return
		}
		if last := deliver(ctx, resp.Body, yield); last {
			// Nobody needs to wait for the end of the body, but a connection
			// that has seen it can be used again.
			go finish(resp.Body, cancel)
			return
		}
		cancel()
		resp.Body.Close()
	}
}

// deliver yields the segments of a body, and reports whether it stopped after
// one that says that it is the last.
func deliver(ctx context.Context, r io.Reader, yield func([]byte, error) bool) (last bool) {
	body := bufio.NewReaderSize(r, 16<<10)
	var segment []byte
	for first := true; ; first = false {
		var err error
		segment, err = readSegment(body, segment)
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			yield(nil, bodyError(ctx, err))
			return false
		}
		last = session.IsLast(segment, first)
		if !yield(segment, nil) {
			return last
		}
	}
}

// finishTimeout is how long a body may take to end after its last segment.
const finishTimeout = time.Second

// finish waits a little for the end of a body that should have no more to say.
func finish(body io.ReadCloser, cancel context.CancelFunc) {
	timer := time.AfterFunc(finishTimeout, cancel)
	defer timer.Stop()
	io.CopyN(io.Discard, body, 1)
	cancel()
	body.Close()
}

// readSegment reads one segment into buf's memory, if it has room: io.EOF if
// there is none, io.ErrUnexpectedEOF if there is a part of one.
func readSegment(r io.Reader, buf []byte) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > session.MaxSegment {
		return nil, fmt.Errorf("%w: a segment of %d bytes", session.ErrTooLarge, n)
	}
	if cap(buf) < int(n) {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	return buf, nil
}

// bodyError is an error of reading a body: the context's if that has ended, or
// else that the answer was cut off.
func bodyError(ctx context.Context, err error) error {
	if errors.Is(err, session.ErrTooLarge) && ctx.Err() == nil {
		return err
	}
	if ended := endOf(ctx); ended != nil {
		return ended
	}
	return fmt.Errorf("%w (%v)", session.ErrTruncated, err)
}

// deadlineGrace is how much earlier than here a deadline may come at the parent,
// which is told it in whole milliseconds.
const deadlineGrace = 5 * time.Millisecond

// endOf returns why ctx has ended, or nil. The parent cuts an answer at the same
// deadline, by a clock of its own: that it did so a moment before ours must not
// look as if it had failed.
func endOf(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= deadlineGrace {
		<-ctx.Done()
	}
	return ctx.Err()
}

// httpError reads why a parent refused. It believes no text, only known words.
func httpError(resp *http.Response) error {
	var body struct {
		Error struct {
			Code string `json:"code"`
		} `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	e := &HTTPError{Status: resp.StatusCode}
	if err == nil && json.Unmarshal(data, &body) == nil && isWord(body.Error.Code) {
		e.Code = body.Error.Code
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = min(time.Duration(s), 3600) * time.Second
	}
	if named := refusalOf(e.Code); named != nil {
		return &refused{e, named}
	}
	return e
}

func isWord(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && c != '_' {
			return false
		}
	}
	return true
}
