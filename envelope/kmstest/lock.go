package kmstest

import (
	"errors"
	"os"
	"syscall"
)

// lockFile takes a lock that ends with the file or the process, so that two
// servers do not overwrite each other's keys.
func lockFile(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, errors.New("another server uses it")
	}
	return f, nil
}
