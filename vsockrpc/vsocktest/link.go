package vsocktest

import (
	"math/rand/v2"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/memnet"
)

// Direction of bytes on a connection, seen from the side that dialled.
type Direction uint8

// The directions.
const (
	ToServer Direction = 1 << iota
	ToClient
	Both = ToServer | ToClient
)

// Faults are what is wrong with one direction of a connection. The zero value
// is nothing.
type Faults struct {
	// Latency is how long bytes take, and the end that follows them. Those
	// under way when it changes keep theirs, and none overtakes another.
	Latency time.Duration
	// MaxRead makes each Read return 1 to MaxRead bytes, at random; with 1 they
	// come one at a time. 0 is no limit.
	MaxRead int
	// Stall keeps everything from being read, the end included, as if the
	// reader had stopped: writers wait once the buffer is full. It comes when
	// Stall is set no longer.
	Stall bool
	// Drop loses what is written, while writers are told that all is well, and
	// the end, too. In both directions that is a peer whose machine is gone.
	// What is lost is lost and counts for no position.
	Drop bool
	// CutAfter breaks the connection, in both directions, once this direction
	// has carried so many bytes: at once, if it has already, and before the
	// first with 0. What was carried can be read, and then io.EOF comes, as
	// when a peer's process ends; writing fails with syscall.EPIPE. nil is
	// never.
	CutAfter *int
	// Corrupt inverts the bits of the byte at this position, if it is yet to be
	// written. nil is none.
	Corrupt *int
}

// Link is one connection, as the network sees it. It is safe for concurrent
// use.
type Link struct {
	client             *memnet.Conn
	toServer, toClient *direction

	cut bool // under the connection's lock, as all of the directions
}

// Set sets the faults of a direction, or of both, on this connection. It
// replaces those set before.
func (l *Link) Set(d Direction, f Faults) {
	l.client.Update(func() { l.set(d, f) })
}

// set is Set for who holds the lock, or alone knows the link.
func (l *Link) set(d Direction, f Faults) {
	for _, q := range [...]*direction{l.toServer, l.toClient} {
		if d&q.d != 0 {
			q.set(f)
		}
	}
}

// Passed returns how many bytes a direction has carried since the connection
// began, or both together.
func (l *Link) Passed(d Direction) (n int) {
	l.client.Update(func() {
		for _, q := range [...]*direction{l.toServer, l.toClient} {
			if d&q.d != 0 {
				n += q.carried
			}
		}
	})
	return n
}

// direction is the queue of one direction.
type direction struct {
	memnet.Buffer
	d      Direction
	link   *Link
	other  *direction
	faults Faults
	rand   *rand.Rand
	tap    func(p []byte)

	carried   int    // bytes, since the beginning
	arrived   int    // those of them that may be read
	flying    []mark // the others, in order
	endCame   bool
	abandoned bool
}

// mark says when the bytes before a position arrive, or the end.
type mark struct {
	at       time.Time
	position int
	end      bool
}

func newLink(name string, number int, opts Options) (client, server *memnet.Conn, l *Link) {
	l = &Link{}
	one := func(d Direction) *direction {
		q := &direction{Buffer: memnet.Buffer{Size: opts.Buffer}, d: d, link: l}
		q.rand = rand.New(rand.NewPCG(opts.Seed, uint64(number)<<2|uint64(d)))
		q.tap = func(p []byte) {
			if opts.Tap != nil {
				opts.Tap(number, d, p)
			}
		}
		return q
	}
	l.toServer, l.toClient = one(ToServer), one(ToClient)
	l.toServer.other, l.toClient.other = l.toClient, l.toServer
	client, server = memnet.Pipe(name, l.toServer, l.toClient)
	l.client = client
	return client, server, l
}

func (q *direction) set(f Faults) {
	q.faults = f
	// The caller may use its variables again.
	if f.CutAfter != nil {
		q.faults.CutAfter = new(*f.CutAfter)
	}
	if f.Corrupt != nil {
		q.faults.Corrupt = new(*f.Corrupt)
	}
	q.cut()
}

// cut breaks the connection if this direction has carried what it may.
func (q *direction) cut() {
	if at := q.faults.CutAfter; at != nil && q.carried >= *at {
		q.link.cut = true
	}
}

// Put implements memnet.Queue.
func (q *direction) Put(p []byte) int {
	if q.faults.Drop {
		return len(p)
	}
	p = p[:min(len(p), q.Room())]
	if at := q.faults.CutAfter; at != nil {
		p = p[:min(len(p), *at-q.carried)]
	}
	if len(p) == 0 {
		return 0
	}
	carry := p
	if at := q.faults.Corrupt; at != nil && *at >= q.carried && *at < q.carried+len(p) {
		carry = append([]byte(nil), p...)
		carry[*at-q.carried] ^= 0xff
	}
	q.tap(carry)
	q.carried += len(carry)
	if q.abandoned { // and the writer does not know yet
		q.arrived = q.carried
	} else {
		q.Buffer.Put(carry)
		q.fly(false)
	}
	q.cut()
	return len(p)
}

// End implements memnet.Queue.
func (q *direction) End() {
	if !q.faults.Drop {
		q.fly(true)
	}
}

// fly notes when what was carried, or the end, arrives.
func (q *direction) fly(end bool) {
	q.land()
	if q.faults.Latency <= 0 && len(q.flying) == 0 {
		q.arrived, q.endCame = q.carried, end
		return
	}
	m := mark{time.Now().Add(q.faults.Latency), q.carried, end}
	if n := len(q.flying); n > 0 && m.at.Before(q.flying[n-1].at) {
		m.at = q.flying[n-1].at
	}
	q.flying = append(q.flying, m)
	if wait := time.Until(m.at); wait > 0 {
		time.AfterFunc(wait, func() { q.link.client.Update(func() {}) })
	}
}

// land notes what has arrived by now.
func (q *direction) land() {
	for now := time.Now(); len(q.flying) > 0 && !q.flying[0].at.After(now); q.flying = q.flying[1:] {
		q.arrived = q.flying[0].position
		q.endCame = q.flying[0].end
	}
}

// Get implements memnet.Queue.
func (q *direction) Get(p []byte) int {
	q.land()
	n := min(len(p), q.Len()-(q.carried-q.arrived))
	if n <= 0 || q.faults.Stall {
		return 0
	}
	if most := q.faults.MaxRead; most > 0 {
		n = min(n, 1+q.rand.IntN(most))
	}
	return q.Buffer.Get(p[:n])
}

// Ended implements memnet.Queue.
func (q *direction) Ended() bool {
	q.land()
	return (q.endCame || q.link.cut) && q.Len() == 0 && !q.faults.Stall
}

// Abandon implements memnet.Queue.
func (q *direction) Abandon() {
	q.abandoned = true
	q.Buffer.Abandon()
	q.flying, q.arrived = nil, q.carried
}

// Broken implements memnet.Queue. A writer learns that the reader is gone when
// the end comes that the reader sent the other way.
func (q *direction) Broken() bool {
	q.other.land()
	return q.link.cut || q.abandoned && q.other.endCame && !q.faults.Drop
}
