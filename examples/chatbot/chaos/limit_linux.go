package main

import (
	"golang.org/x/sys/unix"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
)

// Limits of processes.
const (
	limitFiles  = unix.RLIMIT_NOFILE
	limitMemory = unix.RLIMIT_AS
)

// limit sets a soft limit of a running process and returns what restores it.
func limit(pid, which int, to uint64) (restore func() error, err error) {
	var old unix.Rlimit
	if err := unix.Prlimit(pid, which, nil, &old); err != nil {
		return nil, err
	}
	if err := unix.Prlimit(pid, which, &unix.Rlimit{Cur: to, Max: old.Max}, nil); err != nil {
		return nil, err
	}
	return func() error { return unix.Prlimit(pid, which, &old, nil) }, nil
}

// addressSpace is how much of it a process has, in bytes.
func addressSpace(pid int) (uint64, error) {
	u, err := usage.Of(pid)
	return uint64(u.AddressSpace), err
}
