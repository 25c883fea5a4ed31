//go:build (linux || darwin) && (amd64 || arm64)

package native

import (
	"runtime"
	"unsafe"
)

// probeDefaults calls a function that returns a large structure, which the
// caller provides the place for. Both processors pass its address apart from
// the arguments, so a structure larger than expected is seen, not overflowed
// into.
func probeDefaults(fn uintptr) *probe {
	p := new(probe)
	for i := range p.a {
		p.a[i], p.b[i] = fillA, fillB
	}
	callResult(fn, uintptr(unsafe.Pointer(&p.a[0])))
	callResult(fn, uintptr(unsafe.Pointer(&p.b[0])))
	runtime.KeepAlive(p)
	return p
}
