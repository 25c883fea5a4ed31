//go:build linux || darwin

package native

import "github.com/ebitengine/purego"

// probeDefaults calls a function that returns a large structure. AAPCS64
// passes the place for it in register x8, which only a typed call can set; it
// gets probeSize bytes, so a structure larger than expected does not overflow.
// The place is always zero before the call, so what was written is not seen:
// the extent is that of the known layout whose bools stand where they should,
// which must then agree with the version.
func probeDefaults(fn uintptr) *probe {
	var call func() struct{ b [probeSize]byte }
	purego.RegisterFunc(&call, fn)
	p := &probe{a: call().b}
	p.b = p.a
	n := modelSize
	for _, l := range []layout{layoutV4, layoutV7} {
		if string(p.a[l.boolOffset:l.boolOffset+len(defaultBools)]) == string(defaultBools) {
			n = l.contextSize
		}
	}
	for i := n; i < probeSize; i++ {
		if p.a[i] != 0 {
			n = i + 1
		}
	}
	for i := n; i < probeSize; i++ {
		p.b[i] = ^p.a[i]
	}
	return p
}

// seesExtent says that probeDefaults notices a structure's size.
const seesExtent = false
