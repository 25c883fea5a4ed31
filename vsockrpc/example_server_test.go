package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// A server that is to end finishes the calls that it has begun, takes no more,
// and says so to its clients.
func ExampleServer_Shutdown() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	begun, release := make(chan struct{}), make(chan struct{})
	vsockrpc.Handle(srv, "work", func(context.Context, struct{}) (string, error) {
		close(begun)
		<-release
		return "done", nil
	})
	l, err := vsockrpc.Listen("mem://ending")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	c, err := vsockrpc.NewClient("mem://ending", vsockrpc.ClientOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result := make(chan string, 1)
	go func() {
		answer, err := vsockrpc.Call[struct{}, string](ctx, c, "work", struct{}{})
		result <- fmt.Sprint(answer, " ", err)
	}()

	<-begun
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Shutdown(ctx) }()
	fmt.Println(errors.Is(<-served, vsockrpc.ErrServerClosed)) // it accepts no more
	close(release)
	fmt.Println(<-result)
	fmt.Println(<-stopped)
	// Output:
	// true
	// done <nil>
	// <nil>
}

// Large messages cost no garbage, and what they said does not stay in memory:
// the server lends the request to the handler and erases it, and the client
// appends the answer to memory that it has.
func ExampleServer_HandleLent() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	srv.HandleLent("reverse", func(_ context.Context, req []byte) ([]byte, error) {
		for i, j := 0, len(req)-1; i < j; i, j = i+1, j-1 {
			req[i], req[j] = req[j], req[i]
		}
		return req, nil // it may be part of the request, but must not be kept
	})
	c := connect(srv, "mem://lent") // listens, serves, and makes a client
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var answer []byte
	for _, word := range []string{"drawer", "live"} {
		var err error
		answer, err = c.AppendCall(ctx, answer[:0], "reverse", []byte(word))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", answer)
	}
	clear(answer)
	// Output:
	// reward
	// evil
}

// OnCall is told of each call when it has ended: its method, its code, how long
// it took and how many bytes went either way, never what they said.
func ExampleCallStats() {
	calls := make(chan vsockrpc.CallStats, 1)
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{OnCall: func(s vsockrpc.CallStats) { calls <- s }})
	defer srv.Close()
	srv.Handle("greet", func(_ context.Context, name []byte) ([]byte, error) {
		return append([]byte("hello, "), name...), nil
	})
	c := connect(srv, "mem://watched") // listens, serves, and makes a client
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := c.Call(ctx, "greet", []byte("enclave")); err != nil {
		log.Fatal(err)
	}
	s := <-calls
	fmt.Println(s.Method, s.Code, s.Received.Bytes, s.Sent.Bytes)
	// Output: greet ok 7 14
}
