package memnet

// DefaultSize is how many bytes a Buffer holds where its Size does not say,
// about as many as a socket does.
const DefaultSize = 256 << 10

// Queue holds what was written in one direction of a connection and not read
// yet. A Conn calls it with the connection locked, so a Queue must not use the
// connection, except for Conn.Update in a goroutine or timer of its own.
type Queue interface {
	// Put takes bytes from p, as many as there is room for.
	Put(p []byte) int
	// Get moves bytes that may be read now to p.
	Get(p []byte) int
	// End is called once, when the writing side writes no more.
	End()
	// Ended reports whether the reading side has come to the end.
	Ended() bool
	// Abandon is called once, when the reading side reads no more.
	Abandon()
	// Broken reports whether the writing side knows that nobody reads.
	Broken() bool
}

// Buffer is a Queue of bounded size. The zero Buffer is ready to use.
type Buffer struct {
	// Size is how many bytes it holds. 0 means DefaultSize.
	Size int

	ring      []byte // grows up to Size
	start, n  int    // of what it holds
	ended     bool
	abandoned bool
}

// Len returns how many bytes it holds.
func (b *Buffer) Len() int { return b.n }

// Room returns how many more bytes it takes.
func (b *Buffer) Room() int {
	if b.Size <= 0 {
		return DefaultSize - b.n
	}
	return b.Size - b.n
}

// Put takes bytes from p, as many as there is room for.
func (b *Buffer) Put(p []byte) int {
	p = p[:min(len(p), b.Room())]
	if need := b.n + len(p); need > len(b.ring) {
		ring := make([]byte, min(max(need, 2*len(b.ring), 4<<10), b.n+b.Room()))
		b.peek(ring[:b.n])
		b.ring, b.start = ring, 0
	}
	if len(p) > 0 {
		end := (b.start + b.n) % len(b.ring)
		copy(b.ring, p[copy(b.ring[end:], p):])
		b.n += len(p)
	}
	return len(p)
}

// Get moves what it holds to p.
func (b *Buffer) Get(p []byte) int {
	p = p[:min(len(p), b.n)]
	b.peek(p)
	if b.n -= len(p); b.n == 0 {
		b.start = 0
	} else {
		b.start = (b.start + len(p)) % len(b.ring)
	}
	return len(p)
}

// peek copies the first bytes it holds to p, which is no longer.
func (b *Buffer) peek(p []byte) {
	n := copy(p, b.ring[b.start:])
	copy(p[n:], b.ring)
}

// End is called when nothing more is put.
func (b *Buffer) End() { b.ended = true }

// Ended reports whether that was so and all has been got.
func (b *Buffer) Ended() bool { return b.ended && b.n == 0 }

// Abandon drops what it holds.
func (b *Buffer) Abandon() {
	b.abandoned = true
	b.ring, b.start, b.n = nil, 0, 0
}

// Broken reports whether it was abandoned.
func (b *Buffer) Broken() bool { return b.abandoned }
