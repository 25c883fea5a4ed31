package front

import (
	"container/list"
	"sync"
	"time"
)

// Limits bounds what clients may ask for.
type Limits struct {
	// Rate is how many requests a second one client may make, on average, and
	// Burst how many at once. An attestation counts as one. 0 means 50 and 200;
	// a negative Rate is no limit.
	Rate, Burst float64
	// MaxClients bounds of how many clients the rate is remembered, those that
	// asked last; one takes about 200 bytes. 0 means 65,536.
	MaxClients int
	// Concurrent bounds the requests that are under way at a time, and with it
	// the memory that their bodies take. 0 means 256.
	Concurrent int
	// ConcurrentPerClient bounds those of one client. 0 means 64.
	ConcurrentPerClient int
}

func (l Limits) withDefaults() Limits {
	if l.Rate == 0 {
		l.Rate = 50
	}
	if l.Burst <= 0 {
		l.Burst = 200
	}
	if l.MaxClients <= 0 {
		l.MaxClients = 1 << 16
	}
	if l.Concurrent <= 0 {
		l.Concurrent = 256
	}
	if l.ConcurrentPerClient <= 0 {
		l.ConcurrentPerClient = 64
	}
	return l
}

// rates holds clients to a rate, each by a bucket of tokens: a request takes
// one, and rate tokens a second come back, up to burst. It is safe for
// concurrent use.
//
// A client that is forgotten starts with a full bucket. That is right for those
// whose bucket is full again, which are forgotten by and by; where there are too
// many clients, those that asked longest ago go early.
type rates struct {
	rate, burst float64
	most        int

	mu      sync.Mutex
	buckets map[client]*list.Element // of *bucket
	used    *list.List               // the one used last in front
}

type bucket struct {
	client client
	tokens float64 // at the time of last
	last   time.Time
}

func newRates(rate, burst float64, most int) *rates {
	return &rates{rate: rate, burst: burst, most: most, buckets: make(map[client]*list.Element), used: list.New()}
}

// allow takes a token of the client's, and reports whether there was one.
func (r *rates) allow(c client) bool {
	if r.rate < 0 {
		return true
	}
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(now)
	e, ok := r.buckets[c]
	if !ok {
		if r.used.Len() == r.most {
			r.drop(r.used.Back())
		}
		e = r.used.PushFront(&bucket{c, r.burst, now})
		r.buckets[c] = e
	}
	r.used.MoveToFront(e)
	b := e.Value.(*bucket)
	b.tokens, b.last = min(b.tokens+r.rate*now.Sub(b.last).Seconds(), r.burst), now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// forget drops the two clients that asked longest ago, if their buckets are
// full again. Each request adds one at most, so none stays for long.
func (r *rates) forget(now time.Time) {
	for range 2 {
		e := r.used.Back()
		if e == nil {
			return
		}
		if b := e.Value.(*bucket); b.tokens+r.rate*now.Sub(b.last).Seconds() < r.burst {
			return
		}
		r.drop(e)
	}
}

func (r *rates) drop(e *list.Element) {
	delete(r.buckets, r.used.Remove(e).(*bucket).client)
}

// gate counts the requests under way. It is safe for concurrent use.
type gate struct {
	most, mostPerClient int

	mu    sync.Mutex
	all   int
	inUse map[client]int // only those that have any, so no more than all
}

type admission int

const (
	gateOpen admission = iota
	gateFull
	gateClientFull
)

func newGate(most, perClient int) *gate {
	return &gate{most: most, mostPerClient: perClient, inUse: make(map[client]int)}
}

// enter lets a request in, which must leave, or says why not.
func (g *gate) enter(c client) admission {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.inUse[c] >= g.mostPerClient:
		return gateClientFull
	case g.all >= g.most:
		return gateFull
	}
	g.all++
	g.inUse[c]++
	return gateOpen
}

func (g *gate) leave(c client) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.inUse[c]--; g.inUse[c] == 0 {
		delete(g.inUse, c)
	}
}
