package vsockrpc_test

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// A server that shuts down does not wait for connections that nobody uses.
func TestShutdownOfIdleConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a := f.start("a", vsockrpc.ServerOptions{})
		f.pool(vsockrpc.PoolOptions{}, "a")
		settle()
		began := time.Now()
		if err := a.Shutdown(t.Context()); err != nil || time.Since(began) > 100*time.Millisecond {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// load makes calls from 16 callers until stop is called, which returns how many
// there were. None may fail. With step 1 they are of all kinds, with step 2 of
// those that can be repeated after they were sent.
func load(t *testing.T, p *vsockrpc.Pool, step int) (stop func() int64) {
	var calls atomic.Int64
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for caller := range 16 {
		all.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				if err := oneCall(t.Context(), p, step*(caller+i)); err != nil {
					t.Errorf("call %d of caller %d: %v", i, caller, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	return func() int64 {
		cancel()
		all.Wait()
		return calls.Load()
	}
}

// oneCall makes a call of a kind that depends on n.
func oneCall(ctx context.Context, p *vsockrpc.Pool, n int) error {
	text := fmt.Sprint("message ", n)
	switch n % 4 {
	case 0:
		i := 0
		for got, err := range vsockrpc.CallServerStream[int, int](ctx, p, "count", n%10) {
			if err != nil || got != i {
				return fmt.Errorf("message %d is %d, %w", i, got, err)
			}
			i++
		}
		if i != n%10 {
			return fmt.Errorf("%d messages", i)
		}
		return nil
	case 1:
		st, err := p.Stream(ctx, "mirror")
		if err != nil {
			return err
		}
		defer st.Close()
		for range 3 {
			if err := st.Send([]byte(text)); err != nil {
				return err
			}
			if b, err := st.Recv(); err != nil || string(b) != text {
				return fmt.Errorf("%q, %w", b, err)
			}
		}
		st.CloseSend()
		if _, err := st.Recv(); err != io.EOF {
			return err
		}
		return nil
	}
	if b, err := p.Call(ctx, "echo", []byte(text)); err != nil || string(b) != text {
		return fmt.Errorf("%q, %w", b, err)
	}
	return nil
}

// startLocal starts a server on the transport of the tests and returns its address.
func startLocal(t *testing.T) (*member, string) {
	t.Helper()
	addr := address(t, local)
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	m := newMember(addr, vsockrpc.ServerOptions{})
	m.serve(t, l)
	return m, addr
}

// All enclaves are replaced while calls run, and none fails.
func TestPoolRollingReplacement(t *testing.T) {
	var addrs []string
	var members []*member
	for range 3 {
		m, addr := startLocal(t)
		members, addrs = append(members, m), append(addrs, addr)
	}
	p, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stop := load(t, p, 1)
	for i, old := range addrs {
		for members[i].calls.Load() < 100 && !t.Failed() {
			runtime.Gosched()
		}
		m, addr := startLocal(t)
		if err := p.Replace(t.Context(), old, addr); err != nil {
			t.Error(err)
		}
		members[i].Close() // without a word: nothing is there any more
		members = append(members, m)
	}
	for _, m := range members {
		for m.calls.Load() < 100 && !t.Failed() {
			runtime.Gosched()
		}
	}
	t.Log(stop(), "calls")
	for i, s := range p.Targets() {
		if s.Addr != members[3+i].name || !s.Healthy || s.InFlight != 0 || s.Unprocessed != 0 || s.SetAside != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// 64 enclaves are replaced one after the other, four at a time.
func TestPoolManyTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.net.Set(vsocktest.Both, vsocktest.Faults{Latency: 3 * time.Millisecond})
		var names []string
		var members []*member
		for i := range 64 {
			names = append(names, fmt.Sprint("old", i))
			members = append(members, f.start(names[i], vsockrpc.ServerOptions{}))
		}
		p := f.pool(vsockrpc.PoolOptions{}, names...)
		stop := load(t, p, 1)
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for worker := range 4 {
			all.Go(func() {
				for i := worker; i < 64; i += 4 {
					name := fmt.Sprint("new", i)
					f.start(name, vsockrpc.ServerOptions{})
					if err := p.Replace(t.Context(), "mem://"+names[i], "mem://"+name); err != nil {
						t.Error(err)
					}
					members[i].Close()
				}
			})
		}
		all.Wait()
		time.Sleep(time.Second)
		t.Log(stop(), "calls")
		if all := p.Targets(); len(all) != 64 {
			t.Errorf("%d targets", len(all))
		}
		for _, s := range p.Targets() {
			if !s.Healthy || s.Calls == 0 || s.Unprocessed != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Servers shut down by themselves while calls run: what they have begun ends
// well, and what they refuse is done elsewhere.
func TestPoolServersShutDown(t *testing.T) {
	var addrs []string
	members := map[string]*member{}
	for range 3 {
		m, addr := startLocal(t)
		addrs, members[addr] = append(addrs, addr), m
	}
	p, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	stop := load(t, p, 2)
	for i := range 12 {
		old := addrs[i]
		for members[old].calls.Load() < 50 && !t.Failed() {
			runtime.Gosched()
		}
		m, addr := startLocal(t)
		addrs, members[addr] = append(addrs, addr), m
		if err := p.Add(addr); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := members[old].Shutdown(ctx); err != nil {
			t.Error(err)
		}
		cancel()
		if err := p.Drain(t.Context(), old); err != nil {
			t.Error(err)
		}
	}
	t.Log(stop(), "calls")
}

// The same where much is under way at any moment.
func TestPoolServersShutDownFarAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.net.Set(vsocktest.Both, vsocktest.Faults{Latency: 60 * time.Millisecond, MaxRead: 50})
		servers := map[string]*member{}
		for _, name := range []string{"a", "b", "c"} {
			servers[name] = f.start(name, vsockrpc.ServerOptions{})
		}
		p := f.pool(vsockrpc.PoolOptions{}, "a", "b", "c")
		stop := load(t, p, 2)
		for range 3 {
			for _, name := range []string{"a", "b", "c"} {
				time.Sleep(251 * time.Millisecond)
				began := time.Now()
				if err := servers[name].Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took > 900*time.Millisecond {
					t.Errorf("shutting down took %v", took)
				}
				servers[name] = f.start(name, vsockrpc.ServerOptions{})
				time.Sleep(6 * time.Second)
			}
		}
		t.Log(stop(), "calls")
		again := uint64(0)
		for _, s := range p.Targets() {
			again += s.Unprocessed
		}
		if again == 0 {
			t.Error("no call was refused, so nothing was shown")
		}
	})
}
