//go:build linux || darwin

package native

import "github.com/ebitengine/purego"

// callResult calls fn, which returns a structure at the address result. The
// System V ABI passes that as a hidden first argument.
func callResult(fn, result uintptr) { purego.SyscallN(fn, result) }
