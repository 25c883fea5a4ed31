package vsockrpc

import (
	"math/bits"
	"sync"
)

// Buffers that are lent to handlers and typed calls. They are erased before
// they go back, so that no message can be seen in another's buffer, and so
// that what a message said does not stay in memory.

// Smaller buffers are not worth keeping, larger ones not worth holding on to.
const (
	minLent = 4 << 10
	maxLent = 16 << 20
)

// lent has a pool for each power of two.
var lent [25]sync.Pool

// borrow returns an empty buffer with room for n bytes.
func borrow(n int) []byte {
	if n < minLent || n > maxLent {
		return make([]byte, 0, n)
	}
	class := bits.Len(uint(n - 1))
	if b, ok := lent[class].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, 0, 1<<class)
}

// giveBack erases all of a buffer and keeps it for others.
func giveBack(b []byte) {
	b = b[:cap(b)]
	clear(b)
	if n := len(b); n >= minLent && n <= maxLent && n&(n-1) == 0 {
		b = b[:0]
		lent[bits.Len(uint(n-1))].Put(&b)
	}
}
