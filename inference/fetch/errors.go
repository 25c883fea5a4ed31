package fetch

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

var (
	// ErrDigest means that the file has another digest than Options.SHA256.
	// Nothing of it is kept.
	ErrDigest = errors.New("wrong digest")
	// ErrTooLarge means that the file is larger than Options.MaxBytes.
	// Nothing of it is kept.
	ErrTooLarge = errors.New("file too large")
	// ErrBusy means that another call is downloading to the same Path.
	ErrBusy = errors.New("another download to this file is running")
	// ErrExists means that Path is there with another digest, and
	// Options.Overwrite is not set.
	ErrExists = errors.New("there is another file already")
	// ErrInsecure means that the URL, or one that it leads to, has not the
	// scheme https.
	ErrInsecure = errors.New("not https")
	// ErrStalled means that no byte came for Options.StallTimeout.
	ErrStalled = errors.New("the server sends nothing")
	// ErrProtocol means that the server's answer contradicts the request or
	// itself.
	ErrProtocol = errors.New("the server's answer makes no sense")
)

// StatusError is an answer with a status that is no success.
type StatusError struct {
	// Code is the status, such as 404.
	Code int
	// RetryAfter is how long the server asks to wait, or 0.
	RetryAfter time.Duration
}

// Error returns the status as HTTP writes it.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("status %d %s", e.Code, http.StatusText(e.Code))
	if e.RetryAfter > 0 {
		text += fmt.Sprintf(", to be tried again after %v", e.RetryAfter)
	}
	return strings.TrimSpace(text)
}

// temporary marks an error after which another attempt can succeed.
type temporary struct{ err error }

func (t *temporary) Error() string { return t.err.Error() }
func (t *temporary) Unwrap() error { return t.err }

// protocol returns an ErrProtocol after which another attempt can succeed.
func protocol(format string, args ...any) error {
	return &temporary{fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)}
}

// redacted is the part of a URL that is no secret.
func redacted(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

// errRedirect stands for a redirect whose address cannot be read. The error of
// http.Client quotes the address.
var errRedirect = errors.New("a redirect that leads nowhere")

// withoutURL takes URLs out of an error of http.Client, which quotes them with
// their query. The cause stays for errors.Is, unless its text could quote one
// as well.
func withoutURL(err error) error {
	for {
		e, ok := errors.AsType[*url.Error](err)
		if !ok {
			break
		}
		err = e.Err
	}
	switch text := err.Error(); {
	case strings.Contains(text, "Location header"):
		return errRedirect
	case strings.ContainsAny(text, "?@"):
		return errors.New("the request failed") // the details quote what may be secret
	}
	return err
}
