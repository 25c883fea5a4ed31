package vsockrpc_test

import (
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
