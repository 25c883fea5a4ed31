package vsockrpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// Connections are cut at random places while calls run. Each request is
// executed at most once, each answer is its own request's, and no call fails
// that could have been repeated.
func TestPoolExecutesOnce(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) { executeOnce(t, seed) })
	}
}

func executeOnce(t *testing.T, seed uint64) {
	const callers, each = 16, 60
	f := newFleet(t, vsocktest.Options{Seed: seed})
	f.net.Set(vsocktest.Both, vsocktest.Faults{Latency: 200 * time.Microsecond, MaxRead: 200})
	var executed [callers * each]atomic.Int32
	var names []string
	for i := range 4 {
		m := newMember(fmt.Sprint("m", i), vsockrpc.ServerOptions{})
		m.Handle("once", func(ctx context.Context, req []byte) ([]byte, error) {
			executed[binary.BigEndian.Uint64(req)].Add(1)
			time.Sleep(time.Duration(binary.BigEndian.Uint64(req)%7) * 100 * time.Microsecond)
			return bytes.Repeat(req[:8], 1+len(req)/8), nil
		})
		l, err := f.net.Listen(m.name)
		if err != nil {
			t.Fatal(err)
		}
		m.serve(t, l)
		names = append(names, m.name)
	}
	p := f.pool(vsockrpc.PoolOptions{}, names...)
	var answered, broken atomic.Int32
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for i := range each {
				id := uint64(caller*each + i)
				req := make([]byte, 8+8*(id%100))
				binary.BigEndian.PutUint64(req, id)
				resp, err := p.Call(t.Context(), "once", req)
				switch {
				case err == nil:
					answered.Add(1)
					if !bytes.Equal(resp, bytes.Repeat(req[:8], 1+len(req)/8)) {
						t.Errorf("request %d has another's answer", id)
					}
				case vsockrpc.Unprocessed(err):
					t.Errorf("request %d failed and could have been repeated: %v", id, err)
				case !errors.Is(err, vsockrpc.Unavailable):
					t.Error(err)
				default:
					broken.Add(1)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		all.Wait()
		close(done)
	}()
	random := rand.New(rand.NewPCG(seed, 0))
	settle()
	for cut := true; cut; {
		links := f.net.Links()
		for range 2 {
			l := links[len(links)-1-random.IntN(min(len(links), 8))]
			d := []vsocktest.Direction{vsocktest.ToServer, vsocktest.ToClient}[random.IntN(2)]
			l.Set(d, vsocktest.Faults{CutAfter: new(l.Passed(d) + random.IntN(2000)), Latency: 200 * time.Microsecond})
		}
		select {
		case <-done:
			cut = false
		case <-time.After(2 * time.Millisecond):
		}
	}
	time.Sleep(time.Second) // handlers whose connections were cut
	for id := range executed {
		if n := executed[id].Load(); n > 1 {
			t.Errorf("request %d was executed %d times", id, n)
		}
	}
	var again uint64
	for _, s := range p.Targets() {
		again += s.Unprocessed
	}
	t.Logf("%d answered, %d broken, %d attempts repeated, %d connections", answered.Load(), broken.Load(), again, len(f.net.Links()))
	if answered.Load() == 0 || broken.Load() == 0 || again == 0 {
		t.Error("the cuts missed")
	}
}

// What a handler may have seen is not repeated, whatever its code.
func TestPoolRepeatsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		var called atomic.Int32
		var names []string
		for i := range 3 {
			m := newMember(fmt.Sprint("m", i), vsockrpc.ServerOptions{})
			m.Handle("fail", func(_ context.Context, req []byte) ([]byte, error) {
				called.Add(1)
				return nil, vsockrpc.Code(req[0])
			})
			l, err := f.net.Listen(m.name)
			if err != nil {
				t.Fatal(err)
			}
			m.serve(t, l)
			names = append(names, m.name)
		}
		p := f.pool(vsockrpc.PoolOptions{}, names...)
		for code := vsockrpc.Canceled; code <= vsockrpc.Unauthenticated; code++ {
			called.Store(0)
			if _, err := p.Call(t.Context(), "fail", []byte{byte(code)}); !errors.Is(err, code) || called.Load() != 1 {
				t.Errorf("%d calls, %v", called.Load(), err)
			}
		}
		if _, err := p.Call(t.Context(), "nothing", nil); !errors.Is(err, vsockrpc.Unimplemented) {
			t.Error(err)
		}
		if _, err := p.Call(t.Context(), "", nil); !errors.Is(err, vsockrpc.InvalidArgument) {
			t.Error(err)
		}
		for _, s := range p.Targets() {
			want(t, s.SetAside+s.Unprocessed, 0)
		}
	})
}

// A target that refuses a call because it has too many is passed over; when all
// do, the caller learns that.
func TestPoolFullTargets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		a := f.start("a", vsockrpc.ServerOptions{MaxStreams: 1})
		b := f.start("b", vsockrpc.ServerOptions{MaxStreams: 3})
		var attempts atomic.Int32
		p := f.pool(vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{OnCall: func(s vsockrpc.CallStats) {
			if s.Code == vsockrpc.ResourceExhausted {
				attempts.Add(1)
			}
		}}}, "a", "b")
		settle()
		var calls []<-chan error
		for range 4 {
			calls = append(calls, hold(t.Context(), p))
		}
		want(t, inFlight(p), []int{1, 3})
		attempts.Store(0)
		if err := <-hold(t.Context(), p); !errors.Is(err, vsockrpc.ResourceExhausted) || !vsockrpc.Unprocessed(err) {
			t.Error(err)
		}
		want(t, attempts.Load(), 2)
		for _, err := range vsockrpc.CallServerStream[int, int](t.Context(), p, "count", 3) {
			if !errors.Is(err, vsockrpc.ResourceExhausted) {
				t.Error(err)
			}
		}
		want(t, healthy(p), []bool{true, true})
		b.release <- struct{}{}
		synctest.Wait()
		want(t, who(t, p, 3), map[string]int{"b": 3})
		sum := 0
		for n, err := range vsockrpc.CallServerStream[int, int](t.Context(), p, "count", 4) {
			if err != nil {
				t.Error(err)
			}
			sum += n
		}
		want(t, sum, 6)
		for _, m := range []*member{a, b, b} {
			m.release <- struct{}{}
		}
		for _, done := range calls {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestPoolMaxAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		var names []string
		for i := range 6 {
			names = append(names, fmt.Sprint("m", i))
			f.start(names[i], vsockrpc.ServerOptions{MaxStreams: 1})
		}
		for _, tt := range []struct{ max, want int }{{0, 6}, {1, 1}, {4, 4}, {9, 6}} {
			var attempts atomic.Int32
			p := f.pool(vsockrpc.PoolOptions{MaxAttempts: tt.max, Client: vsockrpc.ClientOptions{OnCall: func(s vsockrpc.CallStats) {
				if s.Code == vsockrpc.ResourceExhausted {
					attempts.Add(1)
				}
			}}}, names...)
			settle()
			ctx, cancel := context.WithCancel(t.Context())
			var calls []<-chan error
			for range 6 {
				calls = append(calls, hold(ctx, p))
			}
			if _, err := p.Call(t.Context(), "who", nil); !errors.Is(err, vsockrpc.ResourceExhausted) {
				t.Error(err)
			}
			want(t, attempts.Load(), tt.want)
			cancel()
			for _, done := range calls {
				if err := <-done; !errors.Is(err, vsockrpc.Canceled) {
					t.Error(err)
				}
			}
			p.Close()
		}
	})
}

// CallServerStream begins a refused stream again with a Client, too, and gives
// up.
func TestCallServerStreamBeginsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		m := f.start("a", vsockrpc.ServerOptions{MaxStreams: 1})
		refused := 0
		p := f.pool(vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{OnCall: func(s vsockrpc.CallStats) {
			if s.Code == vsockrpc.ResourceExhausted {
				if refused++; refused == 6 {
					m.release <- struct{}{}
					synctest.Wait()
				}
			}
		}}}, "a")
		held := hold(t.Context(), p)
		for range 2 {
			var got []any
			for n, err := range vsockrpc.CallServerStream[int, int](t.Context(), p, "count", 2) {
				if err != nil {
					got = append(got, vsockrpc.CodeOf(err))
				} else {
					got = append(got, n)
				}
			}
			if refused == 4 {
				want(t, got, []any{vsockrpc.ResourceExhausted})
			} else {
				want(t, got, []any{0, 1})
			}
		}
		want(t, refused, 6)
		if err := <-held; err != nil {
			t.Error(err)
		}
	})
}

// Interceptors stand around calls, OnCall is told of attempts.
func TestPoolInterceptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, vsocktest.Options{})
		f.start("a", vsockrpc.ServerOptions{MaxStreams: 1})
		f.start("b", vsockrpc.ServerOptions{MaxStreams: 2})
		var mu sync.Mutex
		var calls []string
		attempts := 0
		p := f.pool(vsockrpc.PoolOptions{Client: vsockrpc.ClientOptions{
			Interceptors: []vsockrpc.Interceptor{func(ctx context.Context, method string, next func(context.Context) error) error {
				err := next(ctx)
				mu.Lock()
				defer mu.Unlock()
				calls = append(calls, fmt.Sprint(method, " ", vsockrpc.CodeOf(err)))
				return err
			}},
			OnCall: func(vsockrpc.CallStats) {
				mu.Lock()
				defer mu.Unlock()
				attempts++
			},
		}}, "a", "b")
		settle()
		st, err := p.Stream(t.Context(), "mirror")
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		one, two := hold(ctx, p), hold(ctx, p) // the second is refused once, or the stream's target is b
		name, err := p.Call(t.Context(), "who", nil)
		if !errors.Is(err, vsockrpc.ResourceExhausted) {
			t.Errorf("%s, %v", name, err)
		}
		cancel()
		<-one
		<-two
		st.Close()
		want(t, calls, []string{"mirror ok", "who resource exhausted", "hold canceled", "hold canceled"})
		if attempts < 5 || attempts > 6 {
			t.Errorf("%d attempts", attempts)
		}
	})
}
