package proxy

import "sync/atomic"

// Stats is what a Forwarder has done since it was made. But for Active these
// are counters, which only grow.
type Stats struct {
	// Accepted is the number of connections that were taken on, those that
	// have ended included.
	Accepted uint64
	// Refused is the number of connections that were closed at once, for
	// there were MaxConns already or the Forwarder was stopping.
	Refused uint64
	// Active is the number of connections that are open now, while the target
	// is being dialled or bytes may pass.
	Active int
	// DialErrors is the number of connections that ended because no address
	// of the target could be found or reached in time.
	DialErrors uint64
	// Forbidden is how many of those ended because all addresses that the
	// target's name resolved to are refused (see ForwarderOptions.AllowLocal).
	Forbidden uint64
	// IdleTimeouts is the number of connections that IdleTimeout ended.
	IdleTimeouts uint64
	// BytesUp and BytesDown are the bytes that were passed to the target, and
	// to the enclave.
	BytesUp, BytesDown uint64
}

type counters struct {
	accepted, refused, dialErrors, forbidden, idleTimeouts, up, down atomic.Uint64
	active                                                           atomic.Int64
}

// Stats returns the numbers of now. It is cheap, takes no lock and may be
// called at any time, also after Close. Each number is exact, but they are
// read one after the other: while connections come and go, they need not add
// up.
func (f *Forwarder) Stats() Stats {
	c := &f.counters
	return Stats{
		Accepted:     c.accepted.Load(),
		Refused:      c.refused.Load(),
		Active:       int(c.active.Load()),
		DialErrors:   c.dialErrors.Load(),
		Forbidden:    c.forbidden.Load(),
		IdleTimeouts: c.idleTimeouts.Load(),
		BytesUp:      c.up.Load(),
		BytesDown:    c.down.Load(),
	}
}
