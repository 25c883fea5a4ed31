//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package fetch

import (
	"errors"
	"os"
	"syscall"
)

// openLocked opens or makes a file that no other call has open. The system
// takes the lock back when the process ends, however it ends.
func openLocked(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrBusy
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		// The one who had the lock before may have renamed or removed the
		// file since it was opened here. Then this lock means nothing.
		mine, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if now, err := os.Lstat(name); err == nil && os.SameFile(mine, now) {
			return f, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
}

// syncDir makes the names in a folder last.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
