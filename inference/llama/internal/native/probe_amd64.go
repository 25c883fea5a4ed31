//go:build linux || darwin

package native

import (
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// probeDefaults calls a function that returns a large structure. The System V
// ABI passes the place for it as a hidden first argument, so that a structure
// larger than expected is seen, not overflowed into.
func probeDefaults(fn uintptr) *probe {
	p := new(probe)
	for i := range p.a {
		p.a[i], p.b[i] = 0xaa, 0x55
	}
	purego.SyscallN(fn, uintptr(unsafe.Pointer(&p.a[0])))
	purego.SyscallN(fn, uintptr(unsafe.Pointer(&p.b[0])))
	runtime.KeepAlive(p)
	return p
}

// seesExtent says that probeDefaults notices a structure's size.
const seesExtent = true
