// Minimal is the smallest server that is of use, to see how large it is.
package main

import (
	"context"
	"log"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func main() {
	s := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	vsockrpc.Handle(s, "greet", func(_ context.Context, name string) (string, error) { return "hello, " + name, nil })
	l, err := vsockrpc.Listen("vsock://any:5000")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(s.Serve(l))
}
