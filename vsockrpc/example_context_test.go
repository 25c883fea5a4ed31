package vsockrpc_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/mdlayher/vsock"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Metadata goes along with a call. A parent can read and change it: an identity
// that matters belongs into what is sealed.
func ExampleWithMetadata() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{
		Interceptors: []vsockrpc.Interceptor{func(ctx context.Context, method string, next func(context.Context) error) error {
			fmt.Println(method, "of request", vsockrpc.MetadataFrom(ctx)["request-id"])
			return next(ctx)
		}},
	})
	defer srv.Close()
	vsockrpc.Handle(srv, "greet", func(_ context.Context, name string) (string, error) {
		return "hello, " + name, nil
	})
	c := connect(srv, "mem://metadata") // listens, serves, and makes a client
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	ctx = vsockrpc.WithMetadata(ctx, vsockrpc.Metadata{"request-id": "4711"})
	fmt.Println(vsockrpc.Call[string, string](ctx, c, "greet", "enclave"))
	// Output:
	// greet of request 4711
	// hello, enclave <nil>
}

// An enclave that only its parent is to call asks for the peer's context id,
// which the hypervisor vouches for. No other transport has one.
func ExamplePeerAddr() {
	onlyParent := func(ctx context.Context, _ string, next func(context.Context) error) error {
		peer, ok := vsockrpc.PeerAddr(ctx).(*vsock.Addr)
		if !ok || peer.ContextID != vsockrpc.ParentCID {
			return vsockrpc.PermissionDenied
		}
		return next(ctx)
	}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{Interceptors: []vsockrpc.Interceptor{onlyParent}})
	defer srv.Close()
	vsockrpc.Handle(srv, "greet", func(_ context.Context, name string) (string, error) {
		return "hello, " + name, nil
	})
	c := connect(srv, "mem://stranger") // listens, serves, and makes a client
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := vsockrpc.Call[string, string](ctx, c, "greet", "enclave")
	fmt.Println(err)
	// Output: vsockrpc: permission denied
}

// Each server has a key of its own. What is sealed to the key that one server
// gave out can be opened by that one only, so the next call goes there.
func ExampleServedBy() {
	targets := []string{"mem://red", "mem://blue"}
	for _, addr := range targets {
		srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
		defer srv.Close()
		key := "key of " + addr
		vsockrpc.Handle(srv, "key", func(context.Context, struct{}) (string, error) { return key, nil })
		vsockrpc.Handle(srv, "open", func(_ context.Context, with string) (bool, error) { return with == key, nil })
		l, err := vsockrpc.Listen(addr)
		if err != nil {
			log.Fatal(err)
		}
		go srv.Serve(l)
	}
	pool, err := vsockrpc.NewPool(targets, vsockrpc.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var addr string // for one call at a time
	key, err := vsockrpc.Call[struct{}, string](vsockrpc.ServedBy(ctx, &addr), pool, "key", struct{}{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(vsockrpc.Call[string, bool](ctx, pool.Target(addr), "open", key))
	// Output: true <nil>
}
