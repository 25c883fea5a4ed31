package native

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// An AbortFlag stops the decode of a context early: Decode then returns 2 and
// has removed what the step put into the memory. Set and Clear are safe for
// concurrent use.
type AbortFlag struct {
	// word is read by the library as a string: its first byte is 1 or 0, and
	// a 0 follows (both architectures are little-endian).
	word *atomic.Uint32
	pin  runtime.Pinner
}

// NewAbortFlag makes a flag for c. The library asks it between any two
// operations of a step, thousands of times, on the thread that decodes. The
// callback is therefore no Go function but libc's strlen, given the flag as
// its string: not zero, so "abort", once the flag is set.
func (l *Lib) NewAbortFlag(c Context) *AbortFlag {
	f := &AbortFlag{word: new(atomic.Uint32)}
	f.pin.Pin(f.word)
	l.setAbort(c, l.strlen, uintptr(unsafe.Pointer(f.word)))
	return f
}

// Set ends the decode that is running, and those that follow until Clear.
func (f *AbortFlag) Set() { f.word.Store(1) }

// Clear lets decodes run.
func (f *AbortFlag) Clear() { f.word.Store(0) }

// Free must be called after ContextFree, which ends the library's use.
func (f *AbortFlag) Free() { f.pin.Unpin() }
