package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// fleet is servers on a network in memory, for one bubble.
type fleet struct {
	t   *testing.T
	net *vsocktest.Network
}

// member is one server of a fleet.
type member struct {
	*vsockrpc.Server
	name    string
	calls   atomic.Int64
	release chan struct{} // each receiver lets one "hold" go on
	served  chan error
}

func newFleet(t *testing.T, opts vsocktest.Options) *fleet {
	f := &fleet{t, vsocktest.NewNetwork(opts)}
	t.Cleanup(func() { f.net.Close() })
	return f
}

// newMember returns a server that counts its calls.
func newMember(name string, opts vsockrpc.ServerOptions) *member {
	m := &member{Server: vsockrpc.NewServer(opts), name: name, release: make(chan struct{}), served: make(chan error, 1)}
	m.Handle("who", func(context.Context, []byte) ([]byte, error) {
		m.calls.Add(1)
		return []byte(m.name), nil
	})
	m.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) {
		m.calls.Add(1)
		return req, nil
	})
	m.Handle("hold", func(ctx context.Context, req []byte) ([]byte, error) {
		m.calls.Add(1)
		select {
		case <-m.release:
			return []byte(m.name), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	m.HandleStream("mirror", func(_ context.Context, st *vsockrpc.ServerStream) error {
		m.calls.Add(1)
		for {
			b, err := st.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := st.Send(b); err != nil {
				return err
			}
		}
	})
	vsockrpc.HandleServerStream(m.Server, "count", func(_ context.Context, n int) iter.Seq2[int, error] {
		m.calls.Add(1)
		return func(yield func(int, error) bool) {
			for i := range n {
				if !yield(i, nil) {
					return
				}
			}
		}
	})
	return m
}

// start starts a server with a name on the fleet's network.
func (f *fleet) start(name string, opts vsockrpc.ServerOptions) *member {
	f.t.Helper()
	m := newMember(name, opts)
	l, err := f.net.Listen(name)
	if err != nil {
		f.t.Fatal(err)
	}
	m.serve(f.t, l)
	return m
}

// serve serves until the test ends.
func (m *member) serve(t *testing.T, l net.Listener) {
	go func() { m.served <- m.Serve(l) }()
	t.Cleanup(func() {
		m.Close()
		if err := <-m.served; err != vsockrpc.ErrServerClosed {
			t.Errorf("Serve: %v", err)
		}
	})
}

// pool returns a pool of targets with these names.
func (f *fleet) pool(opts vsockrpc.PoolOptions, names ...string) *vsockrpc.Pool {
	f.t.Helper()
	opts.Client.Dial = func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) { return f.net.Dial(ctx, a.Path) }
	var addrs []string
	for _, name := range names {
		addrs = append(addrs, "mem://"+name)
	}
	p, err := vsockrpc.NewPool(addrs, opts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { p.Close() })
	return p
}

// who makes n calls and returns how many each target answered.
func who(t *testing.T, p *vsockrpc.Pool, n int) map[string]int {
	t.Helper()
	all := map[string]int{}
	for range n {
		name, err := p.Call(t.Context(), "who", nil)
		if err != nil {
			t.Fatal(err)
		}
		all[string(name)]++
	}
	return all
}

// hold begins a call that a server holds, and returns its result.
func hold(ctx context.Context, p *vsockrpc.Pool) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := p.Call(ctx, "hold", nil)
		done <- err
	}()
	synctest.Wait()
	return done
}

// settle lets all happen that can without a check that is not due.
func settle() { time.Sleep(time.Millisecond) }

func inFlight(p *vsockrpc.Pool) (all []int) {
	for _, t := range p.Targets() {
		all = append(all, t.InFlight)
	}
	return all
}

func healthy(p *vsockrpc.Pool) (all []bool) {
	for _, t := range p.Targets() {
		all = append(all, t.Healthy)
	}
	return all
}

// want compares what things look like when printed.
func want(t *testing.T, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestPoolLeastLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a, b, c := f.start("a", vsockrpc.ServerOptions{}), f.start("b", vsockrpc.ServerOptions{}), f.start("c", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a", "b", "c")
		settle()
		want(t, healthy(p), []bool{true, true, true})
		want(t, who(t, p, 30), map[string]int{"a": 10, "b": 10, "c": 10}) // none is in flight: turns
		var calls []<-chan error
		for range 6 {
			calls = append(calls, hold(t.Context(), p))
		}
		want(t, inFlight(p), []int{2, 2, 2})
		b.release <- struct{}{}
		synctest.Wait()
		want(t, inFlight(p), []int{2, 1, 2})
		want(t, who(t, p, 5), map[string]int{"b": 5})
		st, err := p.Stream(t.Context(), "mirror") // counts as a call
		if err != nil {
			t.Fatal(err)
		}
		want(t, inFlight(p), []int{2, 2, 2})
		c.release <- struct{}{}
		synctest.Wait()
		want(t, who(t, p, 5), map[string]int{"c": 5})
		st.Close()
		st.Close()
		want(t, inFlight(p), []int{2, 1, 1})
		for _, m := range []*member{a, a, b, c} {
			m.release <- struct{}{}
		}
		for _, done := range calls {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		want(t, inFlight(p), []int{0, 0, 0})
		for _, s := range p.Targets() {
			if s.Calls < 12 || s.Unprocessed != 0 || s.SetAside != 0 || s.Err != nil || s.Draining {
				t.Errorf("%+v", s)
			}
		}
	})
}

// A server that dies gets no calls from then on, and calls again when it is
// back, without any call having failed.
func TestPoolSetsAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		b := f.start("b", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a", "b")
		settle()
		b.Close()
		settle()
		want(t, healthy(p), []bool{true, false})
		if s := p.Targets()[1]; s.SetAside != 1 || !errors.Is(s.Err, vsockrpc.Unavailable) {
			t.Errorf("%+v", s)
		}
		want(t, who(t, p, 10), map[string]int{"a": 10})
		time.Sleep(time.Minute)
		links := len(f.net.Links())
		time.Sleep(time.Minute)
		if n := len(f.net.Links()) - links; n < 10 || n > 30 {
			t.Errorf("%d attempts to connect in a minute", n)
		}
		b = f.start("b", vsockrpc.ServerOptions{})
		time.Sleep(6 * time.Second)
		want(t, healthy(p), []bool{true, true})
		want(t, who(t, p, 10), map[string]int{"a": 5, "b": 5})
		b.Close() // for a moment: it is not left alone for long
		time.Sleep(200 * time.Millisecond)
		f.start("b", vsockrpc.ServerOptions{})
		time.Sleep(500 * time.Millisecond)
		want(t, healthy(p), []bool{true, true})
	})
}

// A server that hangs is found by its checks; the others take the calls.
func TestPoolHangingTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{HealthInterval: 2 * time.Second, HealthTimeout: time.Second}, "a")
		settle()
		hung := f.net.Links()[0]
		f.start("b", vsockrpc.ServerOptions{})
		if err := p.Add("mem://b"); err != nil {
			t.Fatal(err)
		}
		settle()
		hung.Set(vsocktest.Both, vsocktest.Faults{Stall: true})
		time.Sleep(3 * time.Second)
		want(t, healthy(p), []bool{false, true})
		if err := p.Targets()[0].Err; !errors.Is(err, vsockrpc.DeadlineExceeded) {
			t.Error(err)
		}
		want(t, who(t, p, 10), map[string]int{"b": 10})
		hung.Set(vsocktest.Both, vsocktest.Faults{})
		time.Sleep(3 * time.Second)
		want(t, healthy(p), []bool{true, true})
	})
}

// Where no target is left, calls fail and say so, none waits for long or beyond
// its context, and the first that is back is found at once.
func TestPoolAllDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		var mu sync.Mutex
		var told []vsockrpc.CallStats
		p := f.pool(vsockrpc.PoolOptions{HealthInterval: time.Hour, Client: vsockrpc.ClientOptions{
			OnCall: func(s vsockrpc.CallStats) {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, s)
			},
		}}, "a", "b", "c")
		for range 10 {
			began := time.Now()
			if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.Unavailable) || !vsockrpc.Unprocessed(err) {
				t.Error(err)
			}
			if took := time.Since(began); took > 1100*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		}
		if len(told) != 10 || told[9].Code != vsockrpc.Unavailable || told[9].Method != "who" || told[9].Took == 0 {
			t.Errorf("%+v", told)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if _, err := p.Stream(ctx, "mirror"); !errors.Is(err, vsockrpc.DeadlineExceeded) {
			t.Error(err)
		}
		time.Sleep(10 * time.Minute) // backed off far by now
		f.start("b", vsockrpc.ServerOptions{})
		began := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if name, err := p.Call(t.Context(), "who", nil); err != nil || string(name) != "b" {
					t.Errorf("%s, %v", name, err)
				}
			})
		}
		all.Wait()
		if took := time.Since(began); took > 1100*time.Millisecond { // it may have been asked just before
			t.Errorf("it took %v", took)
		}
		want(t, healthy(p), []bool{false, true, false})
	})
}

// A server that nobody reaches beyond its backlog, and one that ends every
// connection, get no calls, and are not pestered.
func TestPoolUselessServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		if _, err := f.net.Listen("deaf"); err != nil {
			t.Fatal(err)
		}
		l, err := f.net.Listen("rude")
		if err != nil {
			t.Fatal(err)
		}
		var accepted atomic.Int64
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted.Add(1)
				c.Close()
			}
		}()
		defer l.Close()
		p := f.pool(vsockrpc.PoolOptions{}, "rude")
		began := time.Now()
		for range 20 {
			if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.Unavailable) || !vsockrpc.Unprocessed(err) {
				t.Error(err)
			}
		}
		if n, most := accepted.Load(), int64(time.Since(began)/(50*time.Millisecond))+2; n > most {
			t.Errorf("%d connections in %v", n, time.Since(began))
		}
		if err := p.Add("mem://deaf"); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.Unavailable) || !vsockrpc.Unprocessed(err) {
			t.Error(err)
		}
		f.start("a", vsockrpc.ServerOptions{})
		if err := p.Add("mem://a"); err != nil {
			t.Fatal(err)
		}
		want(t, who(t, p, 20), map[string]int{"a": 20})
		before := accepted.Load()
		time.Sleep(time.Minute)
		if n := accepted.Load() - before; n > 30 {
			t.Errorf("%d connections in a minute", n)
		}
	})
}
