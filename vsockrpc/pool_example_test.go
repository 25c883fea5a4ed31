package vsockrpc_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// An enclave is replaced by another without a failed call.
func ExamplePool() {
	greeter := func(addr string) *vsockrpc.Server {
		srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
		vsockrpc.Handle(srv, "greet", func(_ context.Context, name string) (string, error) {
			return "hello, " + name + ", from " + addr, nil
		})
		l, err := vsockrpc.Listen(addr)
		if err != nil {
			log.Fatal(err)
		}
		go srv.Serve(l)
		return srv
	}
	ctx := context.Background()
	old := greeter("mem://old") // in production: vsock://16:5000
	pool, err := vsockrpc.NewPool([]string{"mem://old"}, vsockrpc.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	fmt.Println(vsockrpc.Call[string, string](ctx, pool, "greet", "parent"))

	defer greeter("mem://new").Close()
	if err := pool.Replace(ctx, "mem://old", "mem://new"); err != nil {
		log.Fatal(err)
	}
	old.Close() // nothing uses it any more
	fmt.Println(vsockrpc.Call[string, string](ctx, pool, "greet", "parent"))
	// Output:
	// hello, parent, from mem://old <nil>
	// hello, parent, from mem://new <nil>
}
