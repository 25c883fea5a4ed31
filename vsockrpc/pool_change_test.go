package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

func TestPoolDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a, b := f.start("a", vsockrpc.ServerOptions{}), f.start("b", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a")
		held := hold(t.Context(), p)
		st, err := p.Stream(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Add("mem://b"); err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(t.Context(), "mem://a") }()
		settle()
		if s := p.Targets()[0]; !s.Draining || s.Healthy || s.InFlight != 2 {
			t.Errorf("%+v", s)
		}
		for err, code := range map[error]vsockrpc.Code{
			p.Drain(t.Context(), "mem://a"):                vsockrpc.FailedPrecondition,
			p.Drain(t.Context(), "mem://c"):                vsockrpc.NotFound,
			p.Add("mem://a"):                               vsockrpc.AlreadyExists,
			p.Add("mem://b"):                               vsockrpc.AlreadyExists,
			p.Replace(t.Context(), "mem://c", "mem://d"):   vsockrpc.NotFound,
			p.Replace(t.Context(), "mem://b", "mem://b"):   vsockrpc.AlreadyExists,
			p.Drain(t.Context(), "http://a"):               vsockrpc.Unknown,
			p.Replace(t.Context(), "http://a", "mem://d"):  vsockrpc.Unknown,
			p.Replace(t.Context(), "mem://a", "mem://b/c"): vsockrpc.Unknown,
		} {
			if vsockrpc.CodeOf(err) != code {
				t.Errorf("%v, not %v", err, code)
			}
		}
		want(t, who(t, p, 5), map[string]int{"b": 5})
		a.release <- struct{}{}
		if err := <-held; err != nil {
			t.Error(err)
		}
		for range 2 { // the stream goes on
			time.Sleep(time.Hour)
			if err := st.Send([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if got, err := st.Recv(); err != nil || string(got) != "x" {
				t.Fatalf("%q, %v", got, err)
			}
			select {
			case err := <-drained:
				t.Fatal("drained too soon:", err)
			default:
			}
		}
		st.Close()
		if err := <-drained; err != nil {
			t.Error(err)
		}
		settle()
		want(t, a.Stats(), vsockrpc.ServerStats{})
		want(t, len(p.Targets()), 1)
		// Out of patience.
		held = hold(t.Context(), p)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Drain(ctx, "mem://b"); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, vsockrpc.DeadlineExceeded) {
			t.Error(err)
		}
		if err := <-held; !errors.Is(err, vsockrpc.Unavailable) || vsockrpc.Unprocessed(err) {
			t.Error(err)
		}
		settle()
		want(t, b.Stats(), vsockrpc.ServerStats{})
		if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.Unavailable) {
			t.Error("without a target:", err)
		}
		if err := p.Add("mem://a"); err != nil {
			t.Error(err)
		}
		want(t, who(t, p, 2), map[string]int{"a": 2})
	})
}

// Replace leaves the old target where the new one is not well in time.
func TestPoolReplace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a")
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Replace(ctx, "mem://a", "mem://b"); !errors.Is(err, vsockrpc.DeadlineExceeded) {
			t.Error(err)
		}
		want(t, len(p.Targets()), 1)
		done := make(chan error, 1)
		replace := func() { done <- p.Replace(t.Context(), "mem://a", "mem://b") }
		go replace()
		settle()
		want(t, healthy(p), []bool{true, false})
		if err := p.Drain(t.Context(), "mem://b"); err != nil {
			t.Error(err)
		}
		if err := <-done; !errors.Is(err, vsockrpc.Aborted) {
			t.Error(err)
		}
		go replace()
		time.Sleep(time.Hour)
		f.start("b", vsockrpc.ServerOptions{})
		if err := <-done; err != nil {
			t.Error(err)
		}
		want(t, who(t, p, 3), map[string]int{"b": 3})
		go replace()
		settle()
		want(t, <-done, "vsockrpc: not found: the pool has no target mem://a")
		go func() { done <- p.Replace(t.Context(), "mem://b", "mem://c") }()
		settle()
		p.Close()
		if err := <-done; !errors.Is(err, vsockrpc.Canceled) {
			t.Error(err)
		}
	})
}

func TestPoolClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a := f.start("a", vsockrpc.ServerOptions{})
		p := f.pool(vsockrpc.PoolOptions{}, "a")
		held := hold(t.Context(), p)
		st, err := p.Stream(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- p.Drain(t.Context(), "mem://a") }()
		settle()
		if _, err := f.net.Listen("deaf"); err != nil {
			t.Fatal(err)
		}
		if err := p.Add("mem://deaf"); err != nil {
			t.Fatal(err)
		}
		waiting := hold(t.Context(), p)
		p.Close()
		p.Close()
		for _, err := range []error{<-held, <-waiting, <-drained, p.Add("mem://b")} {
			if !errors.Is(err, vsockrpc.Canceled) {
				t.Error(err)
			}
		}
		if _, err := st.Recv(); !errors.Is(err, vsockrpc.Canceled) {
			t.Error(err)
		}
		st.Close()
		if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.Canceled) {
			t.Error(err)
		}
		settle()
		want(t, a.Stats(), vsockrpc.ServerStats{})
	})
}

func TestNewPool(t *testing.T) {
	many := make([]string, 257)
	for i := range many {
		many[i] = fmt.Sprint("mem://no-such-server-", i)
	}
	for _, addrs := range [][]string{nil, {"mem://a", "mem://a"}, {"mem://a", "a"}, many} {
		if p, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{}); err == nil {
			t.Errorf("%d targets", len(p.Targets()))
			p.Close()
		}
	}
}

// Goroutines and connections end with the pool, over sockets, too.
func TestPoolLeavesNothing(t *testing.T) {
	a, first := startLocal(t)
	b, second := startLocal(t)
	before := runtime.NumGoroutine()
	for range 10 {
		p, err := vsockrpc.NewPool([]string{first, second, address(t, local)}, vsockrpc.PoolOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := oneCall(t.Context(), p, 1); err != nil {
			t.Error(err)
		}
		if err := p.Drain(t.Context(), first); err != nil {
			t.Error(err)
		}
		ended := make(chan error, 1)
		go func() {
			_, err := p.Call(t.Context(), "hold", nil)
			ended <- err
		}()
		p.Close()
		if err := <-ended; !errors.Is(err, vsockrpc.Canceled) {
			t.Error(err)
		}
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before || a.Stats().Conns+b.Stats().Conns > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}
