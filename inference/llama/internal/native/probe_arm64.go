//go:build linux || darwin

package native

import "github.com/ebitengine/purego"

// callResult calls fn, which returns a structure at the address result.
// AAPCS64 passes that in register x8. purego sets x8 in typed calls only, and
// to memory that is zero, in which zeros that were written cannot be seen;
// hence the detour through a few instructions of our own.
func callResult(fn, result uintptr) { purego.SyscallN(resultInX8, result, fn) }

// resultInX8 is the address of the function in probe_arm64.s.
var resultInX8 uintptr
