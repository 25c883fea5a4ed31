//go:build !linux

package pid1

import "io"

// Wanted reports whether this process is the first of an enclave: never here.
func Wanted() bool { return false }

// Main does nothing here.
func Main(io.Writer) {}
