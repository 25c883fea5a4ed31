// Package neterr judges errors of listeners.
package neterr

import (
	"errors"
	"net"
	"syscall"
)

// Temporary reports whether accepting may work again later: a deadline passed,
// the process or the system is out of something, or the peer gave up while it
// was waiting.
func Temporary(err error) bool {
	for _, e := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EINTR} {
		if errors.Is(err, e) {
			return true
		}
	}
	var ne net.Error
	return errors.As(err, &ne) && ne.Timeout()
}
