package vsocktest_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// greeter serves a network, as the examples need it.
func greeter(n *vsocktest.Network) *vsockrpc.Server {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.Handle(srv, "greet", func(_ context.Context, name string) (string, error) {
		return "hello, " + name, nil
	})
	l, err := n.Listen("enclave")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	return srv
}

// through returns a client that dials through a network.
func through(n *vsocktest.Network, keepalive time.Duration) *vsockrpc.Client {
	c, err := vsockrpc.NewClient("mem://enclave", vsockrpc.ClientOptions{
		Keepalive: keepalive,
		Dial: func(ctx context.Context, a vsockrpc.Addr) (net.Conn, error) {
			return n.Dial(ctx, a.Path)
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A call works however its bytes come in.
func Example() {
	n := vsocktest.NewNetwork(vsocktest.Options{Seed: 1})
	defer n.Close()
	srv := greeter(n)
	defer srv.Close()
	c := through(n, 0)
	defer c.Close()

	n.Set(vsocktest.Both, vsocktest.Faults{Latency: time.Millisecond, MaxRead: 3})
	greeting, err := vsockrpc.Call[string, string](context.Background(), c, "greet", "enclave")
	fmt.Println(greeting, err)
	// Output: hello, enclave <nil>
}

// A call fails wherever its connection breaks, and the client's next one
// succeeds.
func ExampleFaults_cutAfter() {
	n := vsocktest.NewNetwork(vsocktest.Options{})
	defer n.Close()
	srv := greeter(n)
	defer srv.Close()
	greet := func() error {
		c := through(n, -1)
		defer c.Close()
		_, err := vsockrpc.Call[string, string](context.Background(), c, "greet", "enclave")
		return err
	}

	// Once without a fault, to learn how much there is to cut.
	if err := greet(); err != nil {
		log.Fatal(err)
	}
	total := n.Links()[0].Passed(vsocktest.ToClient)

	failed := 0
	for at := range total {
		n.Set(vsocktest.ToClient, vsocktest.Faults{CutAfter: &at})
		if err := greet(); errors.Is(err, vsockrpc.Unavailable) {
			failed++
		}
	}
	fmt.Println("failed at every byte:", failed == total)

	n.Set(vsocktest.ToClient, vsocktest.Faults{CutAfter: &total})
	fmt.Println("cut after the answer:", greet())
	// Output:
	// failed at every byte: true
	// cut after the answer: <nil>
}

// Keepalive finds out about a server whose machine is gone.
func ExampleFaults_drop() {
	n := vsocktest.NewNetwork(vsocktest.Options{})
	defer n.Close()
	srv := greeter(n)
	defer srv.Close()
	c := through(n, 20*time.Millisecond)
	defer c.Close()

	n.Set(vsocktest.Both, vsocktest.Faults{Drop: true})
	_, err := vsockrpc.Call[string, string](context.Background(), c, "greet", "enclave")
	fmt.Println(errors.Is(err, vsockrpc.Unavailable))
	// Output: true
}
