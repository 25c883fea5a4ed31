package vsockrpc_test

import (
	"fmt"
	"testing"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// BenchmarkCall is a call of 64 bytes with server and client in one process,
// to count what both allocate. Folder bench compares times.
func BenchmarkCall(b *testing.B) {
	addr := address(b, local)
	serve(b, addr, vsockrpc.ServerOptions{})
	c := dial(b, addr)
	msg := make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Call(b.Context(), "echo", msg); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLargeCalls is 1 MiB there and back from four callers.
func BenchmarkLargeCalls(b *testing.B) {
	addr := address(b, local)
	serve(b, addr, vsockrpc.ServerOptions{})
	c := dial(b, addr)
	b.SetBytes(1 << 20)
	b.ReportAllocs()
	b.SetParallelism(2)
	b.RunParallel(func(p *testing.PB) {
		msg := make([]byte, 1<<20)
		for p.Next() {
			if _, err := c.Call(b.Context(), "echo", msg); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkPool is BenchmarkCall through a pool: with one target, to see what
// the pool adds, and with 64, to see what choosing among them does.
func BenchmarkPool(b *testing.B) {
	for _, targets := range []int{1, 64} {
		b.Run(fmt.Sprint(targets), func(b *testing.B) {
			var addrs []string
			for range targets {
				addrs = append(addrs, address(b, local))
				serve(b, addrs[len(addrs)-1], vsockrpc.ServerOptions{})
			}
			p, err := vsockrpc.NewPool(addrs, vsockrpc.PoolOptions{})
			if err != nil {
				b.Fatal(err)
			}
			defer p.Close()
			msg := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Call(b.Context(), "echo", msg); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
