package vsocktest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"syscall"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/vsocktest"
)

// A server cannot be reached, and then it can: the client needs no new start.
func ExampleNetwork_RefuseDials() {
	n := vsocktest.NewNetwork(vsocktest.Options{})
	defer n.Close()
	srv := greeter(n) // serves on the network
	defer srv.Close()
	c := through(n, -1) // dials through it
	defer c.Close()
	ctx := context.Background()

	n.RefuseDials(true)
	_, err := vsockrpc.Call[string, string](ctx, c, "greet", "enclave")
	fmt.Println(errors.Is(err, vsockrpc.Unavailable), errors.Is(err, syscall.ECONNREFUSED))
	n.RefuseDials(false)
	fmt.Println(vsockrpc.Call[string, string](ctx, c, "greet", "enclave"))
	// Output:
	// true true
	// hello, enclave <nil>
}

// One client whose connection hangs holds up no other. Once the network goes
// on, so does the client: nothing was lost.
func ExampleLink_Set() {
	n := vsocktest.NewNetwork(vsocktest.Options{})
	defer n.Close()
	srv := greeter(n) // serves on the network
	defer srv.Close()
	slow, quick := through(n, -1), through(n, -1) // dial through it
	defer slow.Close()
	defer quick.Close()
	ctx := context.Background()
	if err := slow.Ping(ctx); err != nil { // the first to connect is Links()[0]
		log.Fatal(err)
	}

	link := n.Links()[0]
	link.Set(vsocktest.ToClient, vsocktest.Faults{Stall: true})
	answer := make(chan string, 1)
	go func() {
		greeting, err := vsockrpc.Call[string, string](ctx, slow, "greet", "slow one")
		answer <- fmt.Sprint(greeting, " ", err)
	}()
	fmt.Println(vsockrpc.Call[string, string](ctx, quick, "greet", "quick one"))
	link.Set(vsocktest.ToClient, vsocktest.Faults{})
	fmt.Println(<-answer)
	// Output:
	// hello, quick one <nil>
	// hello, slow one <nil>
}

// A server goes on accepting when the process was out of file descriptors for a
// moment.
func ExampleNetwork_FailAccepts() {
	n := vsocktest.NewNetwork(vsocktest.Options{})
	defer n.Close()
	n.FailAccepts(syscall.EMFILE, syscall.EMFILE)
	srv := greeter(n) // serves on the network
	defer srv.Close()
	c := through(n, -1) // dials through it
	defer c.Close()
	fmt.Println(vsockrpc.Call[string, string](context.Background(), c, "greet", "enclave"))
	// Output: hello, enclave <nil>
}

// A Tap sees what a parent would see: a test looks there for what should have
// been sealed. Calls of vsockrpc are in clear.
func ExampleOptions_tap() {
	var seen bytes.Buffer // of one direction of the only connection
	n := vsocktest.NewNetwork(vsocktest.Options{
		Tap: func(_ int, d vsocktest.Direction, p []byte) {
			if d == vsocktest.ToServer {
				seen.Write(p)
			}
		},
	})
	srv := greeter(n)   // serves on the network
	c := through(n, -1) // dials through it
	_, err := vsockrpc.Call[string, string](context.Background(), c, "greet", "my secret")
	if err != nil {
		log.Fatal(err)
	}
	c.Close()
	srv.Close()
	n.Close() // nothing is written any more
	fmt.Println(bytes.Contains(seen.Bytes(), []byte("my secret")))
	// Output: true
}
