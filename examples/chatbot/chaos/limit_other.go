//go:build !linux

package main

import "errors"

// Limits of processes.
const limitFiles, limitMemory = 0, 1

var errLinux = errors.New("limits of running processes are for Linux")

func limit(int, int, uint64) (func() error, error) { return nil, errLinux }

func addressSpace(int) (uint64, error) { return 0, errLinux }
