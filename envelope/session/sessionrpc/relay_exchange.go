package sessionrpc

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"time"
)

// exchange is one request that a Relay serves.
type exchange struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	began time.Time
	stats RelayStats // Status is 0 until the header is written
}

// isSealed reports whether a request says that its body is of this protocol.
// Browsers do not send this type to other sites without asking these first.
func isSealed(h http.Header) bool {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	return err == nil && t == contentTypeRequest
}

// timeoutOf is how long a request may take: the most, or what it asks for.
func timeoutOf(h http.Header, most time.Duration) (timeout time.Duration, ok bool) {
	v := h.Get(headerTimeout)
	if v == "" {
		return most, true
	}
	ms, err := strconv.ParseUint(v, 10, 63)
	if err != nil || ms == 0 {
		return 0, false
	}
	if ms > uint64(most.Milliseconds()) {
		return most, true
	}
	return time.Duration(ms) * time.Millisecond, true
}

// body reads the request's body, which must have arrived within timeout. (With
// the body read to its end, net/http takes the deadline off.)
func (x *exchange) body(req *http.Request, limit int, timeout time.Duration) ([]byte, word) {
	if req.ContentLength > int64(limit) {
		return nil, wordTooLarge
	}
	// An error is that the server has no deadlines; then it is for the server.
	x.rc.SetReadDeadline(time.Now().Add(timeout))
	body, err := io.ReadAll(http.MaxBytesReader(x.w, req.Body, int64(limit)))
	x.stats.BytesIn = int64(len(body))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, wordTooLarge
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, wordDeadline
		}
		return nil, wordBadRequest
	}
	return body, wordOK
}

// begin writes the header of a good answer. Its content type is set already.
func (x *exchange) begin() {
	x.stats.First = max(time.Since(x.began), 1)
	x.header(http.StatusOK)
}

// header sets what all answers have, and writes the header.
func (x *exchange) header(status int) {
	x.w.Header().Set("Cache-Control", "no-store")
	x.w.Header().Set("X-Content-Type-Options", "nosniff")
	x.stats.Status = status
	x.w.WriteHeader(status)
}

// write writes a part of the answer and flushes it. The client must make room
// for it within timeout, and before ctx's deadline.
func (x *exchange) write(ctx context.Context, timeout time.Duration, b []byte) word {
	limit := time.Now().Add(timeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Before(limit) {
		limit = deadline
	}
	x.rc.SetWriteDeadline(limit)
	n, err := x.w.Write(b)
	x.stats.BytesOut += int64(n)
	if err == nil {
		err = x.rc.Flush()
	}
	switch {
	case err == nil || errors.Is(err, http.ErrNotSupported):
	case ctx.Err() != nil:
		return wordDeadline
	default:
		return wordClientGone
	}
	// The server may have something to write by itself, and a connection
	// serves further requests.
	x.rc.SetWriteDeadline(time.Time{})
	return wordOK
}
