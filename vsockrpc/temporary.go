package vsockrpc

import (
	"errors"
	"syscall"
	"time"
)

// isTemporary reports whether accepting may work again later: the process or
// the system is out of something, or the peer gave up while it was waiting.
func isTemporary(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// timeoutOf turns the microseconds of OPEN into a duration, without overflow.
func timeoutOf(us uint64) time.Duration {
	const most = uint64(1<<63-1) / uint64(time.Microsecond)
	return time.Duration(min(us, most)) * time.Microsecond
}
