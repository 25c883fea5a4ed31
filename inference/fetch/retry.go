package fetch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

const (
	firstWait = 500 * time.Millisecond
	maxWait   = 30 * time.Second
	// maxRetryAfter is the longest Retry-After that is waited for.
	maxRetryAfter = 5 * time.Minute
	// minProgress is how many bytes beyond all earlier ones make an attempt a
	// success in part. Without it a server that sends a byte each time would
	// never be given up; with it, neither a slow line nor a large file runs
	// out of retries.
	minProgress = 64 << 10
)

// download makes attempts until the part file is whole.
func (d *download) download(ctx context.Context) error {
	for failures := 0; ; {
		reached := d.reached
		err := d.attempt(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if _, ok := errors.AsType[*temporary](err); !ok {
			return err
		}
		if d.reached >= reached+minProgress {
			failures = 0
			if errors.Is(err, errMore) {
				continue
			}
		}
		failures++
		if failures > d.opts.Retries {
			return fmt.Errorf("given up after %d attempts that brought nothing: %w", failures, err)
		}
		wait := backoff(failures)
		if status, ok := errors.AsType[*StatusError](err); ok {
			if status.RetryAfter > maxRetryAfter {
				return err
			}
			wait = max(wait, status.RetryAfter)
		}
		d.opts.Logger.Info("download interrupted", "error", err, "bytes", d.done, "retry_in", wait)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// backoff returns how long to wait after that many failures in a row: a time
// that doubles, and of it at least half. Randomness keeps clients that failed
// together from coming back together.
func backoff(failures int) time.Duration {
	wait := min(firstWait<<min(failures-1, 10), maxWait)
	return wait/2 + rand.N(wait/2)
}

// retryAfter reads that header: seconds, or a date. 0 if there is none.
func retryAfter(h http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if n, ok := parseDigits(value); ok {
		return time.Duration(min(n, 1<<30)) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(date.Sub(now), 0)
	}
	return 0
}
