package vsockrpc_test

import (
	"context"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func Example() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	addr := "unix://" + filepath.Join(dir, "socket") // in an enclave: vsock://any:5000

	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.Handle(srv, "greet", func(_ context.Context, name string) (string, error) {
		return "hello, " + name, nil
	})
	vsockrpc.HandleServerStream(srv, "spell", func(_ context.Context, word string) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, c := range word {
				if !yield(string(c), nil) {
					return
				}
			}
		}
	})
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	defer srv.Close()

	ctx := context.Background()
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{}) // from the parent: vsock://16:5000
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	greeting, err := vsockrpc.Call[string, string](ctx, c, "greet", "enclave")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(greeting)
	for letter, err := range vsockrpc.CallServerStream[string, string](ctx, c, "spell", "abc") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(letter)
	}
	// Output:
	// hello, enclave
	// a
	// b
	// c
}
