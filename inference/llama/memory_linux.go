package llama

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

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

// availableMemory returns how many bytes the kernel thinks it can give without
// swapping, or 0 if it does not say.
func availableMemory() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			if err != nil || n < 0 || n > math.MaxInt64>>10 {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
