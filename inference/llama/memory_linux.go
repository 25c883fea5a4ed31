package llama

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const haveMemory = true

// newMemory returns a file that exists only in memory.
func newMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("nitroseal-model", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("llama: memfd_create: %w", err)
	}
	return os.NewFile(uintptr(fd), "nitroseal-model"), nil
}

// sealMemory makes the content final and returns a path to it, which only
// this process can open, while f is open.
func sealMemory(f *os.File) (string, error) {
	// Control keeps the descriptor non-blocking mode as it is, unlike Fd.
	conn, err := f.SyscallConn()
	if err != nil {
		return "", fmt.Errorf("llama: %w", err)
	}
	var path string
	var sealErr error
	err = conn.Control(func(fd uintptr) {
		path = fmt.Sprintf("/proc/self/fd/%d", fd)
		_, sealErr = unix.FcntlInt(fd, unix.F_ADD_SEALS, unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE)
	})
	if err := errors.Join(err, sealErr); err != nil {
		return "", fmt.Errorf("llama: seal: %w", err)
	}
	return path, nil
}
