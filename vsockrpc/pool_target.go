package vsockrpc

import (
	"context"
	"math/rand/v2"
	"time"
)

// target is one server of a pool. What the pool's mu guards may be read and
// changed by others than run.
type target struct {
	pool    *Pool
	addr    string
	client  *Client
	ctx     context.Context // of checks
	cancel  context.CancelFunc
	kick    chan struct{} // capacity 1; a check should be made now
	stopped chan struct{} // closed when run has ended

	// What needs pool.mu.
	healthy  bool
	err      error  // why it is not healthy
	checked  uint64 // pool.checks when the last check had ended
	draining bool
	inFlight int
	full     bool          // it refused a call for having too many, and none has ended since
	idle     chan struct{} // closed when inFlight is 0 in draining

	calls, unprocessed, setAside uint64
}

func newTarget(p *Pool, addr string) (*target, error) {
	c, err := NewClient(addr, p.opts.Client)
	if err != nil {
		return nil, err
	}
	t := &target{
		pool: p, addr: c.addr.String(), client: c, err: errNotConnected,
		kick: make(chan struct{}, 1), stopped: make(chan struct{}), idle: make(chan struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(p.ctx)
	c.onDown = t.down
	return t, nil
}

// run checks the target until its ctx ends.
func (t *target) run() {
	defer close(t.stopped)
	for failures := 0; ; {
		select {
		case <-t.kick: // this check will do
		default:
		}
		began := time.Now()
		if t.check() {
			failures = 0
		} else {
			failures++
		}
		pause := t.pool.opts.HealthInterval
		if failures > 0 {
			pause = min(firstBackoff<<min(failures-1, 20), pause)
		}
		// Less up to a half at random, so that many pools do not ask at once.
		if !t.sleep(pause-rand.N(pause/2+1), true) {
			return
		}
		// A server that ends each connection at once must not be called in a
		// tight loop, however much its target is wanted.
		if !t.sleep(firstBackoff-time.Since(began), false) {
			return
		}
	}
}

// sleep reports whether checks go on.
func (t *target) sleep(pause time.Duration, kickable bool) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	var kick <-chan struct{}
	if kickable {
		kick = t.kick
	}
	select {
	case <-timer.C:
	case <-kick:
	case <-t.ctx.Done():
	}
	return t.ctx.Err() == nil
}

// check makes one check and reports how it went.
func (t *target) check() bool {
	p := t.pool
	ctx, cancel := context.WithTimeout(t.ctx, p.opts.HealthTimeout)
	defer cancel()
	err := t.client.Ping(ctx)
	if err == nil && p.opts.Health != nil {
		err = p.opts.Health(ctx, t.client)
	}
	p.mu.Lock()
	if err == nil && !t.client.live() {
		err = errNotConnected // any more
	}
	p.checks++
	t.checked = p.checks
	t.full = false
	aside, back := false, false
	switch {
	case t.ctx.Err() != nil: // the check was broken off
	case err != nil:
		aside = t.putAside(err)
		t.err = err
	case !t.healthy:
		back = true
		t.healthy, t.err = true, nil
	}
	p.change()
	p.mu.Unlock()
	if aside {
		t.warn(err)
	}
	if back {
		p.opts.Logger.Info("vsockrpc: a target is well", "target", t.addr)
	}
	return err == nil
}

// down is told by the client that it has no connection for new calls any more.
func (t *target) down() {
	t.pool.mu.Lock()
	aside := t.putAside(errNotConnected)
	t.pool.mu.Unlock()
	if aside {
		t.warn(errNotConnected)
	}
}

// putAside keeps calls from a target that was healthy, has it checked, and
// reports whether that is news. It needs pool.mu.
func (t *target) putAside(err error) bool {
	if !t.healthy {
		return false
	}
	t.healthy, t.err = false, err
	if t.draining || t.pool.closed {
		return false
	}
	t.setAside++
	t.pool.change()
	t.wake()
	return true
}

func (t *target) warn(err error) {
	t.pool.opts.Logger.Warn("vsockrpc: a target is set aside", "target", t.addr, "error", err)
}

// load is what targets are chosen by: the least first. It needs pool.mu.
func (t *target) load() int {
	if t.full {
		return t.inFlight + 1<<30
	}
	return t.inFlight
}

// wake has the target checked now.
func (t *target) wake() {
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// call makes a unary call that is counted already.
func (t *target) call(ctx context.Context, dst []byte, method string, req []byte) (resp []byte, err error) {
	defer func() { t.done(err) }() // also where OnCall panics
	resp, _, err = t.client.callOnce(ctx, dst, method, req, false)
	return resp, err
}

// stream begins a stream that is counted already.
func (t *target) stream(ctx context.Context, method string) (*ClientStream, error) {
	s, err := t.client.stream(ctx, method, false)
	if err != nil {
		t.done(err)
		return nil, err
	}
	s.target = t
	return s, nil
}

// done counts a call that has ended.
func (t *target) done(err error) {
	unprocessed, aside := err != nil && Unprocessed(err), false
	t.pool.mu.Lock()
	t.inFlight--
	if t.draining && t.inFlight == 0 {
		close(t.idle)
	}
	t.full = unprocessed && CodeOf(err) == ResourceExhausted
	if unprocessed {
		t.unprocessed++
		aside = !t.client.live() && t.putAside(err)
	}
	t.pool.mu.Unlock()
	if aside {
		t.warn(err)
	}
}
