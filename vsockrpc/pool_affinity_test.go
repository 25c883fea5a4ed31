package vsockrpc_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// What ServedBy says is who answered, and Target calls that one only, whatever
// its load.
func TestPoolAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		b := f.start("b", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a", "b")
		settle()
		seen := map[string]bool{}
		for range 8 {
			var addr string
			name, err := p.Call(vsockrpc.ServedBy(t.Context(), &addr), "who", nil)
			if err != nil || addr != "mem://"+string(name) {
				t.Errorf("%q served by %q, %v", name, addr, err)
			}
			seen[addr] = true
		}
		want(t, len(seen), 2)
		var held []<-chan error
		only := p.Target("mem://b")
		for range 4 {
			done := make(chan error, 1)
			go func() {
				_, err := only.AppendCall(t.Context(), nil, "hold", nil)
				done <- err
			}()
			held = append(held, done)
		}
		synctest.Wait()
		want(t, inFlight(p), []int{0, 4})
		for range 3 {
			var addr string
			name, err := only.AppendCall(vsockrpc.ServedBy(t.Context(), &addr), nil, "who", nil)
			if err != nil || string(name) != "b" || addr != "mem://b" {
				t.Errorf("%q served by %q, %v", name, addr, err)
			}
		}
		var addr string
		st, err := only.Stream(vsockrpc.ServedBy(t.Context(), &addr), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		want(t, inFlight(p), []int{0, 5})
		want(t, addr, "mem://b")
		if err := st.SendLast([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if got, err := st.Recv(); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := st.Recv(); err != io.EOF {
			t.Error(err)
		}
		st.Close()
		for range held {
			b.release <- struct{}{}
		}
		for _, done := range held {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		want(t, inFlight(p), []int{0, 0})
	})
}

// gone checks that a call to one target fails at once, and was seen by nobody.
func gone(t *testing.T, c vsockrpc.Caller) {
	t.Helper()
	began, addr := time.Now(), "as it was"
	ctx := vsockrpc.ServedBy(t.Context(), &addr)
	_, err := c.AppendCall(ctx, nil, "who", nil)
	if !errors.Is(err, vsockrpc.Unavailable) || !vsockrpc.Unprocessed(err) {
		t.Error(err)
	}
	if _, err := c.Stream(ctx, "mirror"); !errors.Is(err, vsockrpc.Unavailable) || !vsockrpc.Unprocessed(err) {
		t.Error(err)
	}
	if took := time.Since(began); took > 0 || addr != "as it was" {
		t.Errorf("it took %v, at %q", took, addr)
	}
}

// A target that is unknown, set aside or drained is not waited for, nor is
// another called in its place.
func TestPoolTargetGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a, b := f.start("a", vsockrpc.ServerOptions{}), f.start("b", vsockrpc.ServerOptions{})
		var told []vsockrpc.CallStats
		p := f.pool(vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{OnCall: func(s vsockrpc.CallStats) { told = append(told, s) }}}, "a", "b")
		settle()
		gone(t, p.Target("mem://c"))
		gone(t, p.Target("no address"))
		want(t, len(told), 4)
		want(t, told[3].Code, vsockrpc.Unavailable)
		b.Close()
		settle()
		gone(t, p.Target("mem://b"))
		want(t, a.calls.Load(), 0)
		b = f.start("b", vsockrpc.ServerOptions{})
		time.Sleep(6 * time.Second)
		if name, err := p.Target("mem://b").AppendCall(t.Context(), nil, "who", nil); err != nil || string(name) != "b" {
			t.Errorf("%q, %v", name, err)
		}
		held := make(chan error, 1)
		go func() {
			_, err := p.Target("mem://b").AppendCall(t.Context(), nil, "hold", nil)
			held <- err
		}()
		synctest.Wait()
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(t.Context(), "mem://b") }()
		settle()
		gone(t, p.Target("mem://b"))
		b.release <- struct{}{} // a drain waits for calls through Target
		if err := <-held; err != nil {
			t.Error(err)
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		gone(t, p.Target("mem://b"))
		p.Close()
		if _, err := p.Target("mem://a").AppendCall(t.Context(), nil, "who", nil); !errors.Is(err, vsockrpc.Canceled) {
			t.Error(err)
		}
	})
}

// Where no target is well, one with a connection is called, as the pool does.
func TestPoolTargetNoneWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		sick := func(context.Context, *vsockrpc.Client) error { return errors.New("it feels unwell") }
		p := f.pool(vsockrpc.PoolOptions{Health: sick}, "a")
		settle()
		want(t, healthy(p), []bool{false})
		if name, err := p.Target("mem://a").AppendCall(t.Context(), nil, "who", nil); err != nil || string(name) != "a" {
			t.Errorf("%q, %v", name, err)
		}
	})
}

// The pool's interceptors stand around the calls of one target, too.
func TestPoolTargetIntercepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a := f.start("a", vsockrpc.ServerOptions{})
		refusal := &vsockrpc.Error{Code: vsockrpc.PermissionDenied}
		p := f.pool(vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{Interceptors: []vsockrpc.Interceptor{
			func(context.Context, string, func(context.Context) error) error { return refusal },
		}}}, "a")
		settle()
		if _, err := p.Target("mem://a").AppendCall(t.Context(), nil, "who", nil); !errors.Is(err, vsockrpc.PermissionDenied) {
			t.Error(err)
		}
		if _, err := p.Target("mem://a").Stream(t.Context(), "mirror"); !errors.Is(err, vsockrpc.PermissionDenied) {
			t.Error(err)
		}
		want(t, a.calls.Load(), 0)
	})
}
