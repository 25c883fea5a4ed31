// Package usage tells what a process uses, as the kernel says it. It is for
// Linux; elsewhere every call fails.
package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Usage is what a process uses at one moment.
type Usage struct {
	// FDs is how many descriptors are open.
	FDs int
	// RSS is the memory that is resident, in bytes.
	RSS int64
	// AddressSpace is the memory that it has reserved, in bytes.
	AddressSpace int64
	// Threads is how many threads the kernel runs for it.
	Threads int
}

// Of reads what the process uses. The error is that it is gone, or not this
// user's.
func Of(pid int) (Usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return Usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Usage{}, err
	}
	u := Usage{FDs: len(fds)}
	for _, f := range []struct {
		name string
		set  func(int64)
	}{
		{"VmRSS:", func(kib int64) { u.RSS = kib << 10 }},
		{"VmSize:", func(kib int64) { u.AddressSpace = kib << 10 }},
		{"Threads:", func(n int64) { u.Threads = int(n) }},
	} {
		n, err := field(status, f.name)
		if err != nil {
			return Usage{}, err
		}
		f.set(n)
	}
	return u, nil
}

// field reads a number of /proc/PID/status.
func field(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if !ok {
			continue
		}
		words := bytes.Fields(rest)
		if len(words) == 0 {
			break
		}
		return strconv.ParseInt(string(words[0]), 10, 64)
	}
	return 0, fmt.Errorf("usage: the kernel gives no %s", name)
}
