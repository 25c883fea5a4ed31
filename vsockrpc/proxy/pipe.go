package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// chunk is how much is passed on at once: some kernels corrupt larger writes
// to vsock.
const chunk = 32 << 10

// pipe copies until src ends and passes the end on, so that the other
// direction can still finish. Where that cannot be told apart, or on an error,
// both are closed. It reports whether it was idle for too long.
func pipe(dst, src net.Conn, idle *idleTimer, total *atomic.Uint64) (n int64, timedOut bool) {
	buf := make([]byte, chunk)
	for {
		k, err := src.Read(buf)
		if k > 0 {
			idle.touch()
			w, werr := dst.Write(buf[:k])
			idle.touch() // a slow reader is a sign of life as well
			n += int64(w)
			total.Add(uint64(w))
			if werr != nil {
				err = werr
			}
		}
		if err == nil {
			continue
		}
		half, ok := dst.(interface{ CloseWrite() error })
		if !errors.Is(err, io.EOF) || !ok || half.CloseWrite() != nil {
			dst.Close()
			src.Close()
		}
		return n, errors.Is(err, os.ErrDeadlineExceeded)
	}
}

// idleTimer sets the deadlines of both directions on every sign of life.
type idleTimer struct {
	timeout time.Duration
	conns   [2]net.Conn
	mu      sync.Mutex
	last    time.Time
}

func (t *idleTimer) touch() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	// Setting deadlines costs system calls; a tenth of the time-out is
	// precise enough.
	if now.Sub(t.last) < t.timeout/10 {
		return
	}
	t.last = now
	for _, c := range t.conns {
		c.SetDeadline(now.Add(t.timeout))
	}
}
