package fetch

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	maxRedirects = 10
	pieceSize    = 256 << 10
)

// errMore means that an answer was whole, but not the rest of the file.
var errMore = errors.New("the server sent a part only")

// newClient returns a copy of c, or a new client, that follows redirects with
// care.
func newClient(c *http.Client) *http.Client {
	client := &http.Client{}
	if c != nil {
		*client = *c
	}
	own := client.CheckRedirect
	client.Timeout = 0
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		if req.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
			return fmt.Errorf("a redirect: %w", ErrInsecure)
		}
		req.Header.Del("Referer") // it has the query of a signed URL
		if own != nil {
			return own(req, via)
		}
		return nil
	}
	return client
}

// attempt makes one request for what is missing. It returns nil when the part
// file is whole. An error that is a *temporary is worth another attempt.
func (d *download) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(d.opts.StallTimeout, func() { cancel(fmt.Errorf("%w for %v", ErrStalled, d.opts.StallTimeout)) })
	defer stalled.Stop()

	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url.String(), nil)
	if err != nil {
		return withoutURL(err)
	}
	// Compressed bytes could not be resumed, and have another digest.
	req.Header.Set("Accept-Encoding", "identity")
	if d.done > 0 && d.state.Validator == "" {
		if err := d.restart(); err != nil {
			return err
		}
	}
	if d.done > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.done))
		req.Header.Set("If-Range", d.state.Validator)
	}
	resp, err := d.client.Do(req)
	stalled.Stop()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return &temporary{cause}
		}
		err = withoutURL(err)
		if resp != nil || hopeless(err) { // with a response it is a redirect that is refused
			return err
		}
		return &temporary{err}
	}
	defer resp.Body.Close()
	end, err := d.accept(resp)
	if err != nil {
		return err
	}
	d.report()
	if err := d.copy(ctx, stalled, resp.Body, end); err != nil {
		return err
	}
	if d.state.Size >= 0 && d.done < d.state.Size {
		return &temporary{errMore}
	}
	return nil
}

// hopeless says whether to try again is no use: the server is not the one that
// is meant, or there is none of that name.
func hopeless(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	name, ok := errors.AsType[*net.DNSError](err)
	return certificate || ok && name.IsNotFound || errors.Is(err, errRedirect)
}

// startOver forgets what has come because of err, which it returns.
func (d *download) startOver(err error) error {
	if failed := d.restart(); failed != nil {
		return failed
	}
	return err
}

// accept checks a response against what was asked, and returns how long the
// part file is when its body has come, or -1 if that is not known.
func (d *download) accept(resp *http.Response) (end int64, err error) {
	switch status := resp.StatusCode; {
	case status == http.StatusOK:
		return d.acceptWhole(resp)
	case status == http.StatusPartialContent && d.done > 0:
		end, err := d.acceptRest(resp)
		if err != nil {
			return 0, d.startOver(err)
		}
		return end, nil
	case status == http.StatusRequestedRangeNotSatisfiable && d.done > 0:
		return 0, d.startOver(protocol("byte %d is said to be beyond the file's end", d.done))
	case status == http.StatusPartialContent:
		return 0, fmt.Errorf("%w: a range that was not asked for", ErrProtocol)
	case status == http.StatusTooManyRequests || status >= 500:
		return 0, &temporary{&StatusError{status, retryAfter(resp.Header, time.Now())}}
	default:
		return 0, &StatusError{Code: status}
	}
}

// acceptWhole takes a response with the file from its beginning, asked for or
// not: a server may not know ranges, or have another version by now.
func (d *download) acceptWhole(resp *http.Response) (end int64, err error) {
	if err := checkEncoding(resp); err != nil {
		return 0, err
	}
	if err := d.restart(); err != nil {
		return 0, err
	}
	if resp.ContentLength > d.opts.MaxBytes {
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, resp.ContentLength, d.opts.MaxBytes)
	}
	d.state = state{d.opts.SHA256, validator(resp.Header), resp.ContentLength}
	if d.state.Validator != "" {
		if err := d.state.write(d.stateName()); err != nil {
			return 0, d.fileError(err)
		}
	}
	return resp.ContentLength, nil
}

// acceptRest takes a response with the rest of the file, or the next part of
// it: a server may send less than was asked for.
func (d *download) acceptRest(resp *http.Response) (end int64, err error) {
	if err := checkEncoding(resp); err != nil {
		return 0, err
	}
	r, ok := parseContentRange(resp.Header)
	switch {
	case !ok:
		return 0, protocol("no usable Content-Range")
	case r.first != d.done:
		return 0, protocol("bytes from %d on instead of %d", r.first, d.done)
	case d.state.Size >= 0 && r.size != d.state.Size:
		return 0, protocol("the file had %d bytes, now it has %d", d.state.Size, r.size)
	case resp.ContentLength >= 0 && resp.ContentLength != r.last-r.first+1:
		return 0, protocol("Content-Length and Content-Range disagree")
	case contradicts(resp.Header, d.state.Validator):
		return 0, protocol("a range of another version")
	case r.size > d.opts.MaxBytes:
		return 0, fmt.Errorf("%w: %d bytes, limit %d", ErrTooLarge, r.size, d.opts.MaxBytes)
	}
	d.state.Size = r.size
	return r.last + 1, nil
}

// checkEncoding refuses what was compressed on the way.
func checkEncoding(resp *http.Response) error {
	if e := resp.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return fmt.Errorf("%w: Content-Encoding %.20q, though none is accepted", ErrProtocol, e)
	}
	return nil
}

// copy appends body to the part file, at most up to end. stalled runs while it waits for the
// network, and only then: a slow disk is no fault of the server.
func (d *download) copy(ctx context.Context, stalled *time.Timer, body io.Reader, end int64) error {
	piece := make([]byte, pieceSize)
	for {
		stalled.Reset(d.opts.StallTimeout)
		n, err := body.Read(piece)
		stalled.Stop()
		if end >= 0 && int64(n) > end-d.done {
			return d.startOver(protocol("more bytes than it said"))
		}
		if int64(n) > d.opts.MaxBytes-d.done {
			return fmt.Errorf("%w: more than %d bytes", ErrTooLarge, d.opts.MaxBytes)
		}
		if n > 0 {
			if _, err := d.file.Write(piece[:n]); err != nil {
				return d.fileError(err)
			}
			d.hash.Write(piece[:n])
			d.done += int64(n)
			d.reached = max(d.reached, d.done)
			d.report()
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case context.Cause(ctx) != nil: // also while there is more at hand
			return &temporary{context.Cause(ctx)}
		case err != nil:
			return &temporary{withoutURL(err)}
		}
	}
}

func (d *download) report() {
	d.opts.Progress(Progress{Done: d.done, Total: d.state.Size, Resumed: d.resumed})
}

// fileError tells what a full disk is short of.
func (d *download) fileError(err error) error {
	if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
		return err
	}
	if d.state.Size < 0 {
		return fmt.Errorf("the disk is full after %d bytes: %w", d.done, err)
	}
	return fmt.Errorf("the disk is full, %d of %d bytes are missing: %w", d.state.Size-d.done, d.state.Size, err)
}
