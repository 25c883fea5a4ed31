package vsockrpc

import (
	"context"
	"slices"
	"time"
)

// ServedBy returns a context whose calls to a Pool write into addr the address
// of the target that they went to, as TargetStats has it; of several tried, the
// last. It is there when the call has returned, and stays as it was where there
// was no target to try. Calls that run at the same time need an addr each.
//
// With Target, what belongs to the first call can follow it to the same server:
//
//	var addr string
//	answer, err := pool.Call(vsockrpc.ServedBy(ctx, &addr), "open", req)
//	...
//	stream, err := pool.Target(addr).Stream(ctx, "next")
func ServedBy(ctx context.Context, addr *string) context.Context {
	return context.WithValue(ctx, servedByKey{}, addr)
}

type servedByKey struct{}

// Target returns a Caller for one target of the pool, for calls that only this
// server can answer. A call fails at once with Unavailable, and is Unprocessed,
// if the pool does not have the target when the call is made, drains it, or has
// set it aside, which the first check after Add may yet do; where no target is
// well, one that still has a connection is called. Nothing is repeated, here
// or elsewhere. Otherwise its calls are the pool's: they count as in flight,
// drains wait for them, and Interceptors and OnCall see them.
//
// It holds nothing that must be closed, and addr may join the pool later.
func (p *Pool) Target(addr string) Caller {
	if a, err := ParseAddr(addr); err == nil {
		addr = a.String()
	}
	return &pinned{p, addr}
}

// pinned makes the calls of Pool.Target.
type pinned struct {
	pool *Pool
	addr string
}

func (c *pinned) AppendCall(ctx context.Context, dst []byte, method string, req []byte) ([]byte, error) {
	return interceptCall(ctx, c.pool.opts.Client.Interceptors, dst, method, func(ctx context.Context) ([]byte, error) {
		t, err := c.enter(ctx, method)
		if err != nil {
			return dst, err
		}
		return t.call(ctx, dst, method, req)
	})
}

func (c *pinned) Stream(ctx context.Context, method string) (*ClientStream, error) {
	return interceptStream(ctx, c.pool.opts.Client.Interceptors, method, func(ctx context.Context) (*ClientStream, error) {
		t, err := c.enter(ctx, method)
		if err != nil {
			return nil, err
		}
		return t.stream(ctx, method)
	})
}

// enter returns the target, on which the call counts as in flight from now on.
func (c *pinned) enter(ctx context.Context, method string) (*target, error) {
	p := c.pool
	p.mu.Lock()
	var err *Error
	t := p.find(c.addr)
	switch {
	case p.closed:
		err = &Error{Code: Canceled, Message: "the pool was closed", unprocessed: true}
	case t == nil:
		err = &Error{Code: Unavailable, Message: "the pool has no such target", unprocessed: true}
	case !slices.Contains(p.callable(), t):
		err = &Error{Code: Unavailable, Message: "the target is set aside or drained", cause: t.err, unprocessed: true}
	default:
		p.enter(ctx, t)
	}
	p.mu.Unlock()
	if err != nil {
		if report := p.opts.Client.OnCall; report != nil {
			report(CallStats{Method: method, Code: err.Code, Began: time.Now()})
		}
		return nil, err
	}
	return t, nil
}

// enter counts a call on t, and tells a ServedBy. It needs p.mu.
func (p *Pool) enter(ctx context.Context, t *target) {
	t.inFlight++
	t.calls++
	if addr, ok := ctx.Value(servedByKey{}).(*string); ok {
		*addr = t.addr
	}
}
