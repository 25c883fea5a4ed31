package sessionrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// failing is a connection that breaks with the request.
type failing struct{}

func (failing) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }

// A parent that cuts at the deadline does so a moment before or after the client
// notices it: the client's error is the deadline either way, and a cut before is
// the parent's.
func TestCutAtTheDeadline(t *testing.T) {
	for left, want := range map[time.Duration]error{
		-time.Second:                 context.DeadlineExceeded,
		0:                            context.DeadlineExceeded,
		time.Millisecond:             context.DeadlineExceeded,
		deadlineGrace:                context.DeadlineExceeded,
		deadlineGrace + 1:            session.ErrTruncated,
		time.Minute:                  session.ErrTruncated,
		time.Duration(1<<63 - 1 - 1): session.ErrTruncated,
	} {
		t.Run(fmt.Sprint(left), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), left)
				defer cancel()
				if err := bodyError(ctx, io.ErrUnexpectedEOF); !errors.Is(err, want) {
					t.Errorf("an answer: %v, want %v", err, want)
				}
				if want == session.ErrTruncated {
					want = ErrUnreachable
				}
				ctx, cancel = context.WithTimeout(t.Context(), left)
				defer cancel()
				transport, err := NewHTTPTransport(HTTPOptions{URL: "http://parent", Client: &http.Client{Transport: failing{}}})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := transport.Attest(ctx, nil); !errors.Is(err, want) {
					t.Errorf("before an answer: %v, want %v", err, want)
				}
			})
		})
	}
	// Without a deadline, and with an end that is no deadline.
	if err := bodyError(context.Background(), io.ErrUnexpectedEOF); !errors.Is(err, session.ErrTruncated) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	cancel()
	if err := bodyError(ctx, io.ErrUnexpectedEOF); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// What the parent sent is its fault, however little time is left.
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := bodyError(ctx, fmt.Errorf("%w: x", session.ErrTooLarge)); !errors.Is(err, session.ErrTooLarge) {
			t.Error(err)
		}
	})
}
