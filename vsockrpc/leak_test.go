package vsockrpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// leftGoroutines is how many goroutines there are beyond those of before.
func leftGoroutines(before int) int { return runtime.NumGoroutine() - before }

// heapInUse is how much of the heap is reachable. Twice, since what pools keep
// goes in two steps.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// nothingLeaks runs work after some that warms everything up, and checks that
// neither goroutines nor memory stay, of which there may be allowed bytes.
func nothingLeaks(t *testing.T, allowed uint64, work func(rounds int)) {
	t.Helper()
	work(100)
	goroutines, heap := runtime.NumGoroutine(), heapInUse()
	work(2000)
	for deadline := time.Now().Add(10 * time.Second); leftGoroutines(goroutines) > 2; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines more:\n%s", leftGoroutines(goroutines), stacks[:runtime.Stack(stacks, true)])
		}
	}
	if after := heapInUse(); after > heap+allowed {
		t.Errorf("%d KiB of heap, %d before", after>>10, heap>>10)
	}
}

// Thousands of calls of each kind leave nothing behind, on a connection that
// stays and on ones that go.
func TestNothingLeaks(t *testing.T) {
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	if err := c.Ping(t.Context()); err != nil { // both sides have their goroutines
		t.Fatal(err)
	}
	ask := func(t *testing.T, ctx context.Context, method string, want vsockrpc.Code) {
		if _, err := c.Call(ctx, method, []byte("question")); vsockrpc.CodeOf(err) != want {
			t.Errorf("%s: %v", method, err)
		}
	}
	open := func(t *testing.T, ctx context.Context, method string) *vsockrpc.ClientStream {
		st, err := c.Stream(ctx, method)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	for name, once := range map[string]func(t *testing.T){
		"calls":         func(t *testing.T) { ask(t, t.Context(), "echo", vsockrpc.OK) },
		"failed calls":  func(t *testing.T) { ask(t, t.Context(), "fail", vsockrpc.NotFound) },
		"panics":        func(t *testing.T) { ask(t, t.Context(), "panic", vsockrpc.Internal) },
		"unknown calls": func(t *testing.T) { ask(t, t.Context(), "none", vsockrpc.Unimplemented) },
		"cancelled calls": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			ask(t, ctx, "wait", vsockrpc.Canceled)
		},
		"late calls": func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Microsecond)
			defer cancel()
			ask(t, ctx, "wait", vsockrpc.DeadlineExceeded)
		},
		"streams": func(t *testing.T) {
			st := open(t, t.Context(), "mirror")
			defer st.Close()
			if err := st.SendLast([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if m, err := st.Recv(); err != nil || !bytes.Equal(m, []byte("x")) {
				t.Errorf("%q, %v", m, err)
			}
			if _, err := st.Recv(); err != io.EOF {
				t.Error(err)
			}
		},
		"abandoned streams": func(t *testing.T) {
			st := open(t, t.Context(), "flood")
			if _, err := st.Recv(); err != nil {
				t.Error(err)
			}
			st.Close()
		},
		"cancelled streams": func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			st := open(t, ctx, "mirror")
			cancel()
			if _, err := st.Recv(); !errors.Is(err, vsockrpc.Canceled) {
				t.Error(err)
			}
			st.Close()
		},
		"PINGs": func(t *testing.T) {
			if err := c.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			nothingLeaks(t, 2<<20, func(rounds int) {
				for range rounds {
					once(t)
				}
			})
		})
	}
	t.Run("connections", func(t *testing.T) {
		nothingLeaks(t, 4<<20, func(rounds int) {
			for range rounds / 10 {
				c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Call(t.Context(), "echo", nil); err != nil {
					t.Error(err)
				}
				c.Close()
			}
		})
	})
}
