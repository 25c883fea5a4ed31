package session_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// TestLeavingTheLoop cancels the enclave's work, and leaves nothing behind.
func TestLeavingTheLoop(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	before := runtime.NumGoroutine()
	var handlerErr error
	w.handler = func(_ *session.Request, resp *session.Response) error {
		for handlerErr == nil {
			handlerErr = resp.Send([]byte("token"))
		}
		if !resp.Ended() {
			t.Error("an answer that nobody hears goes on")
		}
		if err := resp.Fail(&session.RemoteError{Code: "late"}); !errors.Is(err, handlerErr) {
			t.Errorf("%v; want %v", err, handlerErr)
		}
		return handlerErr
	}
	for range 20 {
		handlerErr = nil
		n := 0
		for _, err := range c.Ask(t.Context(), payload("q")) {
			if err != nil {
				t.Error(err)
			}
			if n++; n == 3 {
				break
			}
		}
		if handlerErr == nil {
			t.Error("the handler was not told")
		}
	}
	if left := runtime.NumGoroutine() - before; left > 0 {
		t.Errorf("%d goroutines are left", left)
	}
}

func TestBrokenAnswers(t *testing.T) {
	w := newWorld(t, nil)
	broken := errors.New("connection reset")
	for _, test := range []struct {
		after int // segments
		got   string
		want  []error
	}{
		{0, "", []error{broken}},
		{1, "a", []error{broken, session.ErrTruncated}},
		{2, "ab", []error{broken, session.ErrTruncated}},
		{3, "ab!", nil}, // nothing was missing
	} {
		w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
			return func(yield func([]byte, error) bool) {
				n := 0
				for s := range w.deliver(request) {
					if n == test.after {
						break
					}
					n++
					if !yield(s, nil) {
						return
					}
				}
				yield(nil, broken)
			}
		}
		got, err := ask(t, w.client(t, nil), "ab")
		if got != test.got || (err == nil) != (test.want == nil) {
			t.Errorf("after %d: %q, %v", test.after, got, err)
		}
		for _, want := range test.want {
			if !errors.Is(err, want) {
				t.Errorf("after %d: %v; want %v", test.after, err, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
		return func(yield func([]byte, error) bool) {
			for s := range w.deliver(request) {
				yield(s, nil)
				cancel()
				return
			}
		}
	}
	for _, err := range w.client(t, nil).Ask(ctx, payload("ab")) {
		if err != nil && (!errors.Is(err, context.Canceled) || errors.Is(err, session.ErrTruncated)) {
			t.Error(err)
		}
	}
}

// TestRotationUnderLoad has sixteen clients ask at a time, while keys are
// rotated for their age, or for their number of requests. No request fails.
func TestRotationUnderLoad(t *testing.T) {
	for name, test := range map[string]struct {
		requests int           // for one key
		round    time.Duration // passes after each client has an answer
	}{
		"for their age":    {1 << 16, 30 * time.Second},
		"for their number": {64, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			const clients, rounds = 16, 40
			w := newWorld(t, func(o *session.EnclaveOptions) { o.RotateAfter, o.MaxRequests = 5*time.Minute, test.requests })
			cache := attest.NewChainCache(0)
			all := make([]*session.Client, clients)
			for i := range all {
				all[i] = w.client(t, func(o *session.ClientOptions) { o.Enclave.Cache = cache })
			}
			var mu sync.Mutex
			keys := map[session.KeyID]bool{}
			for round := range rounds {
				var asking sync.WaitGroup
				for i, c := range all {
					asking.Go(func() {
						want, got := fmt.Sprintf("%d-%d", i, round), ""
						for message, err := range c.Ask(context.Background(), func(_ context.Context, e *session.Established, _ session.RequestID) ([]byte, error) {
							mu.Lock()
							defer mu.Unlock()
							keys[e.KeyID] = true
							return []byte(want), nil
						}) {
							if err != nil {
								t.Errorf("client %d, round %d: %v", i, round, err)
							}
							got += string(message)
						}
						if got != want+"!" {
							t.Errorf("%q; want %q", got, want)
						}
					})
				}
				asking.Wait()
				w.clock.add(test.round)
			}
			if len(keys) < 3 || w.opened != clients*rounds {
				t.Errorf("%d keys, %d requests opened", len(keys), w.opened)
			}
			t.Logf("%d keys", len(keys))
		})
	}
}
