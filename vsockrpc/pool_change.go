package vsockrpc

import (
	"context"
	"slices"
)

// TargetStats tells of one target of a pool at one moment.
type TargetStats struct {
	// Addr is the target's address, as Addr.String has it.
	Addr string
	// Healthy: calls go there. Draining: none does any more.
	Healthy, Draining bool
	// InFlight is how many calls and streams of this pool have not ended.
	InFlight int
	// Calls is how many have been sent there, Unprocessed how many of them
	// reached no handler (and so went elsewhere, mostly).
	Calls, Unprocessed uint64
	// SetAside is how often the target was found not to be well.
	SetAside uint64
	// Err is why the target is not healthy, nil if it is.
	Err error
}

// Targets returns all targets in the order in which they were added, for
// metrics and readiness.
func (p *Pool) Targets() []TargetStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]TargetStats, 0, len(p.targets))
	for _, t := range p.targets {
		all = append(all, TargetStats{t.addr, t.healthy && !t.draining, t.draining, t.inFlight, t.calls, t.unprocessed, t.setAside, t.err})
	}
	return all
}

// Add adds a target. Calls go to it once it has been found well. The error has
// the code AlreadyExists for a target that the pool has, also while it is
// drained.
func (p *Pool) Add(addr string) error {
	_, err := p.add(addr)
	return err
}

func (p *Pool) add(addr string) (*target, error) {
	t, err := newTarget(p, addr)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, errorf(Canceled, "the pool was closed")
	case p.find(t.addr) != nil:
		return nil, errorf(AlreadyExists, "the pool has the target %s", t.addr)
	case len(p.targets) == maxTargets:
		return nil, errorf(ResourceExhausted, "a pool of more than %d targets", maxTargets)
	}
	p.targets = append(p.targets, t)
	go t.run()
	return t, nil
}

// find returns a target by its address, or nil. It needs p.mu.
func (p *Pool) find(addr string) *target {
	for _, t := range p.targets {
		if t.addr == addr {
			return t
		}
	}
	return nil
}

// Drain takes a target out of the pool without a failed call: no new calls go
// there, and when those in flight have ended, streams included, its connection
// is closed. When ctx ends before, it is closed anyway, which ends them with
// Unavailable, and Drain returns ctx's error.
//
// The error has the code NotFound for a target that the pool does not have, and
// FailedPrecondition for one that is being drained.
func (p *Pool) Drain(ctx context.Context, addr string) error {
	a, err := ParseAddr(addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	t := p.find(a.String())
	if t == nil || t.draining {
		p.mu.Unlock()
		if t != nil {
			return errorf(FailedPrecondition, "the target %s is being drained", a)
		}
		return errorf(NotFound, "the pool has no target %s", a)
	}
	return p.drain(ctx, t)
}

// drain is Drain of a target that is not being drained. It needs p.mu, and
// gives it up.
func (p *Pool) drain(ctx context.Context, t *target) (err error) {
	t.draining = true
	if t.inFlight == 0 {
		close(t.idle)
	}
	p.change()
	p.mu.Unlock()
	t.cancel()
	end := errorf(Unavailable, "the target was drained")
	select {
	case <-t.idle:
	case <-ctx.Done():
		err = ctxError(ctx)
	case <-p.ctx.Done():
		end = errorf(Canceled, "the pool was closed")
		err = end
	}
	t.client.end(end)
	<-t.stopped
	p.mu.Lock()
	defer p.mu.Unlock()
	p.targets = slices.DeleteFunc(p.targets, func(o *target) bool { return o == t })
	return err
}

// Replace adds a target, waits until it is well, and then drains another, as
// Drain does. When ctx ends before the new target is well, that is taken out
// again, and old stays.
func (p *Pool) Replace(ctx context.Context, old, addr string) error {
	a, err := ParseAddr(old)
	if err != nil {
		return err
	}
	p.mu.Lock()
	known := p.find(a.String()) != nil
	p.mu.Unlock()
	if !known {
		return errorf(NotFound, "the pool has no target %s", a)
	}
	t, err := p.add(addr)
	if err != nil {
		return err
	}
	p.mu.Lock()
	for !t.healthy && !t.draining && !p.closed && ctx.Err() == nil {
		p.wait(ctx)
	}
	switch {
	case p.closed:
		err = errorf(Canceled, "the pool was closed")
	case t.draining:
		err = errorf(Aborted, "the target %s was drained before it was well", t.addr)
	case !t.healthy:
		err = ctxError(ctx)
	default:
		p.mu.Unlock()
		return p.Drain(ctx, old)
	}
	if t.draining || p.closed {
		p.mu.Unlock()
		return err
	}
	p.drain(ctx, t) // which has ended
	return err
}

// Close ends all connections, calls and checks. Calls end with Canceled.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.closed = true
	all := slices.Clone(p.targets)
	p.change()
	p.mu.Unlock()
	p.cancel()
	for _, t := range all {
		t.client.end(errorf(Canceled, "the pool was closed"))
		<-t.stopped
	}
	return nil
}
