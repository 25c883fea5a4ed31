// Pool replaces an enclave by another while calls run, and no call fails.
//
// The three enclaves, and the fourth that takes the second's place, are servers
// in this process; with vsock://16:5000 and the like they would be elsewhere. Pool
// exits with 1 and one line if a call fails, and with 2 when called wrongly.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func main() { os.Exit(run(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintln(errOut, "usage: pool")
		return 2
	}
	if err := replace(ctx, out); err != nil {
		fmt.Fprintf(errOut, "pool: %v\n", err)
		return 1
	}
	return 0
}

// enclave starts a server that counts its calls.
func enclave(addr string, served *atomic.Int64) (*vsockrpc.Server, error) {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.Handle(srv, "square", func(_ context.Context, n int64) (int64, error) {
		served.Add(1)
		return n * n, nil
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		return nil, err
	}
	go srv.Serve(l)
	return srv, nil
}

const calls = 4000

func replace(ctx context.Context, out io.Writer) error {
	addrs := []string{"mem://enclave-1", "mem://enclave-2", "mem://enclave-3", "mem://enclave-4"}
	var served [4]atomic.Int64 // calls
	var servers [4]*vsockrpc.Server
	for i, addr := range addrs {
		var err error
		if servers[i], err = enclave(addr, &served[i]); err != nil {
			return err
		}
		defer servers[i].Close()
	}
	pool, err := vsockrpc.NewPool(addrs[:3], vsockrpc.PoolOptions{})
	if err != nil {
		return err
	}
	defer pool.Close()

	var made, failed atomic.Int64
	var callers sync.WaitGroup
	half, replaced := make(chan struct{}), make(chan struct{})
	for range 4 {
		callers.Go(func() {
			for n := made.Add(1); n <= calls; n = made.Add(1) {
				if n == calls/2 {
					close(half)
				} else if n > calls*3/4 {
					<-replaced // some are left for the newcomer
				}
				if got, err := vsockrpc.Call[int64, int64](ctx, pool, "square", n); err != nil || got != n*n {
					failed.Add(1)
				}
			}
		})
	}
	<-half
	err = pool.Replace(ctx, addrs[1], addrs[3])
	servers[1].Close() // nothing uses it any more
	close(replaced)
	callers.Wait()
	for i, addr := range addrs {
		fmt.Fprintf(out, "%s served %d calls\n", addr, served[i].Load())
	}
	if n := failed.Load(); n > 0 && err == nil {
		err = fmt.Errorf("%d calls failed", n)
	}
	if err == nil {
		fmt.Fprintln(out, "no call failed")
	}
	return err
}
