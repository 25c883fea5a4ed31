//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package fetch

import "os"

// openLocked opens or makes a file; there is no flock here.
func openLocked(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}

func syncDir(string) error { return nil }
