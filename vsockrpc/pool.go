package vsockrpc

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// maxTargets bounds a pool.
const maxTargets = 256

// PoolOptions configures a Pool.
type PoolOptions struct {
	// Client is for the connections to the targets. Its Interceptors stand
	// around the pool's calls, whatever number of targets they try, and around
	// calls that Health makes; its OnCall is told of each attempt, or once of a
	// call for which there was no target to try.
	Client ClientOptions
	// HealthInterval is how often a target that is well is asked again, and
	// the longest time between attempts to reach one that is not. A connection
	// that ends is noticed at once in any case. 0 means 5 seconds.
	HealthInterval time.Duration
	// HealthTimeout bounds one check, connecting included. 0 means 5 seconds.
	HealthTimeout time.Duration
	// Health says whether a target that has answered a PING should be given
	// calls: nil if so. It must end with ctx, and must not close the Client,
	// which is the target's own. nil means that the PING is enough.
	Health func(ctx context.Context, c *Client) error
	// MaxAttempts bounds how often one call is tried. 0 means as often as there
	// are targets, but at least 3 times.
	MaxAttempts int
	// Logger is told when targets are set aside and when they are back. nil is
	// silent.
	Logger *slog.Logger
}

// Pool calls several servers that are all the same to the caller: the enclaves
// of an instance, or several parents. It is safe for concurrent use.
//
// Each call goes to the target with the fewest calls of this pool in flight,
// among those that are well. A target is set aside as soon as its connection
// ends, it says that it shuts down, or it fails a check; it is then tried in the
// background until it is well again. Where no target is well, calls go to those
// that still have a connection, as the checks may be wrong; where none has, a
// call has all of them tried at once and waits for the first, or until all have
// failed.
//
// A call that certainly reached no handler (see Unprocessed) is tried again, on
// a target that it has not tried if there is one. Other calls are never
// repeated. A stream can be refused after Stream has returned; Recv then
// returns an error that is Unprocessed, and it is for the caller to begin
// another, since only the caller has what was sent. CallServerStream does.
//
// A target that fails its calls quickly has few in flight, and so gets many:
// Health is there to find that out.
//
// Where one server has what a later call needs, such as a session's key,
// ServedBy tells which target a call went to, and Target calls that one.
type Pool struct {
	opts   PoolOptions
	ctx    context.Context // ends with Close
	cancel context.CancelFunc

	mu      sync.Mutex // never held while anything is waited for, and taken before a Client's
	targets []*target  // in the order in which they were added
	healthy []*target  // those of them that calls go to
	turn    int        // where the search in healthy begins
	checks  uint64     // that have ended, of all targets
	changed chan struct{}
	closed  bool
}

// NewPool returns a pool of 1 to 256 different targets, and begins to connect to
// them. It does not wait for that: calls do.
func NewPool(addrs []string, opts PoolOptions) (*Pool, error) {
	if opts.HealthInterval <= 0 {
		opts.HealthInterval = 5 * time.Second
	}
	if opts.HealthTimeout <= 0 {
		opts.HealthTimeout = 5 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if len(addrs) == 0 {
		return nil, errorf(InvalidArgument, "a pool without targets")
	}
	p := &Pool{opts: opts}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, addr := range addrs {
		if err := p.Add(addr); err != nil {
			p.Close()
			return nil, err
		}
	}
	return p, nil
}

// Call makes a unary call, as Client's does.
func (p *Pool) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	return p.AppendCall(ctx, nil, method, req)
}

// AppendCall is Call that appends the answer to dst, as Client's does.
func (p *Pool) AppendCall(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error) {
	if len(p.opts.Client.Interceptors) == 0 {
		return p.call(ctx, dst, method, req)
	}
	return interceptCall(ctx, p.opts.Client.Interceptors, dst, method, func(ctx context.Context) ([]byte, error) {
		return p.call(ctx, dst, method, req)
	})
}

func (p *Pool) call(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error) {
	var r route
	for {
		t, err := p.next(ctx, &r, method)
		if err != nil {
			return dst, err
		}
		resp, err := t.call(ctx, dst, method, req)
		if err == nil || !p.again(ctx, &r, t, err) {
			return resp, err
		}
	}
}

// Stream begins a stream, as Client's does. Until it is closed it counts as in
// flight.
func (p *Pool) Stream(ctx context.Context, method string) (*ClientStream, error) {
	if len(p.opts.Client.Interceptors) == 0 {
		return p.stream(ctx, method)
	}
	return interceptStream(ctx, p.opts.Client.Interceptors, method, func(ctx context.Context) (*ClientStream, error) {
		return p.stream(ctx, method)
	})
}

func (p *Pool) stream(ctx context.Context, method string) (*ClientStream, error) {
	var r route
	for {
		t, err := p.next(ctx, &r, method)
		if err != nil {
			return nil, err
		}
		s, err := t.stream(ctx, method)
		if err == nil || !p.again(ctx, &r, t, err) {
			return s, err
		}
	}
}

// route is what a call has tried.
type route struct {
	tried []*target
	err   error // of the last
}

// again notes that a call failed on t, and reports whether it may be repeated.
func (p *Pool) again(ctx context.Context, r *route, t *target, err error) bool {
	if !Unprocessed(err) || ctx.Err() != nil {
		return false
	}
	most := p.opts.MaxAttempts
	if most <= 0 {
		p.mu.Lock()
		most = max(len(p.targets), 3)
		p.mu.Unlock()
	}
	r.tried, r.err = append(r.tried, t), err
	return len(r.tried) < most
}

// next chooses the target that a call tries next, on which it counts as in
// flight from now on.
func (p *Pool) next(ctx context.Context, r *route, method string) (*target, error) {
	p.mu.Lock()
	t := p.choose(r.tried)
	if t == nil {
		// A target that has too many calls has them a moment later, too.
		if r.err != nil && CodeOf(r.err) == ResourceExhausted {
			p.mu.Unlock()
			return nil, r.err
		}
		began := time.Now()
		var err error
		if t, err = p.await(ctx, r); err != nil {
			p.mu.Unlock()
			if report := p.opts.Client.OnCall; report != nil && len(r.tried) == 0 {
				report(CallStats{Method: method, Code: CodeOf(err), Began: began, Took: time.Since(began)})
			}
			return nil, err
		}
	}
	p.enter(ctx, t)
	p.mu.Unlock()
	return t, nil
}

// callable lists the targets that calls may go to: those that are well, or else
// those that have a connection. It needs p.mu.
func (p *Pool) callable() []*target {
	if len(p.healthy) > 0 {
		return p.healthy
	}
	var all []*target
	for _, t := range p.targets {
		if !t.draining && t.client.live() {
			all = append(all, t)
		}
	}
	return all
}

// choose returns the target with the fewest calls in flight that was not tried,
// and nil if there is none. It needs p.mu.
func (p *Pool) choose(tried []*target) *target {
	if p.closed {
		return nil
	}
	all := p.callable()
	var best *target
	if p.turn++; p.turn >= len(all) {
		p.turn = 0
	}
	for i := range all {
		if i += p.turn; i >= len(all) {
			i -= len(all)
		}
		t := all[i]
		if (best == nil || t.load() < best.load()) && !slices.Contains(tried, t) {
			if best = t; t.load() == 0 {
				break
			}
		}
	}
	return best
}

// await has all targets tried that have no connection, and waits until one can
// be called, also one that was tried. It needs p.mu, which it gives up in
// between.
func (p *Pool) await(ctx context.Context, r *route) (*target, error) {
	began := p.checks
	for kicked := false; ; kicked = true {
		if p.closed {
			return nil, &Error{Code: Canceled, Message: "the pool was closed", cause: r.err, unprocessed: true}
		}
		if ctx.Err() != nil {
			return nil, ctxError(ctx)
		}
		if t := p.choose(nil); t != nil {
			return t, nil
		}
		cause, pending := r.err, false
		for _, t := range p.targets {
			switch {
			case t.draining:
			case t.checked <= began:
				pending = true
				if !kicked {
					t.wake()
				}
			default:
				cause = t.err
			}
		}
		if !pending {
			return nil, &Error{Code: Unavailable, Message: "no target can be reached", cause: cause, unprocessed: true}
		}
		p.wait(ctx)
	}
}

// wait waits until a check has ended, a target has come or gone, the pool is
// closed, or ctx ends. It needs p.mu, which it gives up meanwhile.
func (p *Pool) wait(ctx context.Context) {
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	changed := p.changed
	p.mu.Unlock()
	select {
	case <-changed:
	case <-ctx.Done():
	}
	p.mu.Lock()
}

// change wakes those who wait, and lists who is healthy. It needs p.mu.
func (p *Pool) change() {
	p.healthy = nil
	for _, t := range p.targets {
		if t.healthy && !t.draining {
			p.healthy = append(p.healthy, t)
		}
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
