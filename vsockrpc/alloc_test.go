package vsockrpc_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// TestAllocations counts what a call of 64 bytes allocates, client and server
// together.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates, too")
	}
	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	plain, cancel := context.WithCancel(t.Context())
	defer cancel()
	deadline, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for _, tt := range []struct {
		name   string
		ctx    context.Context
		allocs float64 // per call
		bytes  float64
	}{
		{"with a context that can be cancelled", plain, 12, 1536},
		{"with a deadline, which the server keeps, too", deadline, 14, 1536},
	} {
		msg := make([]byte, 64)
		calls := func(n int) {
			for range n {
				if _, err := c.Call(tt.ctx, "echo", msg); err != nil {
					t.Fatal(err)
				}
			}
		}
		calls(200)
		const n = 2000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		calls(n)
		runtime.ReadMemStats(&after)
		allocs := float64(after.Mallocs-before.Mallocs) / n
		bytes := float64(after.TotalAlloc-before.TotalAlloc) / n
		t.Logf("%s: %.1f allocations, %.0f bytes", tt.name, allocs, bytes)
		if allocs > tt.allocs || bytes > tt.bytes {
			t.Errorf("%s: %.1f allocations and %.0f bytes a call, want at most %.0f and %.0f", tt.name, allocs, bytes, tt.allocs, tt.bytes)
		}
	}
}
