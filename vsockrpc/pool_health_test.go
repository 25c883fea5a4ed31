package vsockrpc_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// A check of one's own keeps calls from a target that is not ready, unless none
// is.
func TestPoolHealth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		var ready [2]atomic.Bool
		var asked atomic.Int32
		for i, name := range []string{"a", "b"} {
			m := newMember(name, vsockrpc.ServerOptions{})
			m.Handle("ready", func(ctx context.Context, _ []byte) ([]byte, error) {
				asked.Add(1)
				if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > time.Second {
					t.Error("no deadline")
				}
				if !ready[i].Load() {
					return nil, vsockrpc.FailedPrecondition
				}
				return nil, nil
			})
			l, err := f.net.Listen(name)
			if err != nil {
				t.Fatal(err)
			}
			m.serve(t, l)
		}
		p := f.pool(vsockrpc.PoolOptions{
			HealthInterval: 10 * time.Second, HealthTimeout: time.Second,
			Health: func(ctx context.Context, c *vsockrpc.Client) error {
				_, err := c.Call(ctx, "ready", nil)
				return err
			},
		}, "a", "b")
		settle()
		want(t, healthy(p), []bool{false, false})
		want(t, who(t, p, 4), map[string]int{"a": 2, "b": 2})
		if err := p.Targets()[0].Err; !errors.Is(err, vsockrpc.FailedPrecondition) {
			t.Error(err)
		}
		ready[0].Store(true)
		time.Sleep(11 * time.Second)
		want(t, healthy(p), []bool{true, false})
		want(t, who(t, p, 4), map[string]int{"a": 4})
		ready[1].Store(true)
		time.Sleep(11 * time.Second)
		want(t, healthy(p), []bool{true, true})
		want(t, who(t, p, 4), map[string]int{"a": 2, "b": 2})
		ready[0].Store(false)
		time.Sleep(11 * time.Second)
		want(t, healthy(p), []bool{false, true})
		want(t, p.Targets()[0].SetAside, 1)
		ready[0].Store(true)
		time.Sleep(time.Minute)
		asked.Store(0)
		time.Sleep(100 * time.Second)
		if n := asked.Load(); n < 20 || n > 40 {
			t.Errorf("%d checks of two targets in ten intervals", n)
		}
	})
}

// A connection that breaks is made again at once, not when the next check is
// due.
func TestPoolReconnects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{HealthInterval: time.Hour}, "a")
		for range 3 {
			time.Sleep(time.Minute)
			want(t, healthy(p), []bool{true})
			links := f.net.Links()
			links[len(links)-1].Set(vsocktest.Both, vsocktest.Faults{CutAfter: new(0)})
			settle()
			want(t, healthy(p), []bool{true})
			want(t, len(f.net.Links()), len(links)+1)
			want(t, who(t, p, 1), map[string]int{"a": 1})
		}
		want(t, p.Targets()[0].SetAside, 3)
	})
}
