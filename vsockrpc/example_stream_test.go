package vsockrpc_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// connect serves on an address, and returns a client of it.
func connect(srv *vsockrpc.Server, addr string) *vsockrpc.Client {
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A client sends as many messages as it likes and gets one answer. The handler
// passes on the error that the sequence ends with: the client has gone, then,
// and what came is not all.
func ExampleHandleClientStream() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	vsockrpc.HandleClientStream(srv, "sum", func(_ context.Context, numbers iter.Seq2[int, error]) (int, error) {
		sum := 0
		for n, err := range numbers {
			if err != nil {
				return 0, err
			}
			sum += n
		}
		return sum, nil
	})
	c := connect(srv, "mem://sum") // as in the example of the package
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sum, err := vsockrpc.CallClientStream[int, int](ctx, c, "sum", slices.Values([]int{1, 2, 3}))
	fmt.Println(sum, err)
	// Output: 6 <nil>
}

// Questions and answers go at the same time, each as soon as it is there.
// Leaving the client's loop ends both.
func ExampleHandleBidiStream() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	vsockrpc.HandleBidiStream(srv, "square", func(_ context.Context, numbers iter.Seq2[int, error]) iter.Seq2[int, error] {
		return func(yield func(int, error) bool) {
			for n, err := range numbers {
				if !yield(n*n, err) || err != nil {
					return
				}
			}
		}
	})
	c := connect(srv, "mem://square") // as in the example of the package
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	endless := func(yield func(int) bool) {
		for n := 1; yield(n); n++ {
		}
	}
	for square, err := range vsockrpc.CallBidiStream[int, int](ctx, c, "square", endless) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(square)
		if square > 5 {
			break
		}
	}
	// Output:
	// 1
	// 4
	// 9
}

// The methods of Server and Client take bytes as they are. A stream ends with
// io.EOF, or with the error that the handler returned; it is closed in any
// case, which cancels a handler that has not ended.
func ExampleClientStream() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	srv.HandleStream("echo", func(_ context.Context, s *vsockrpc.ServerStream) error {
		for {
			msg, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.Send(msg); err != nil {
				return err
			}
		}
	})
	c := connect(srv, "mem://echo") // as in the example of the package
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	s, err := c.Stream(ctx, "echo")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()
	if err := s.SendLast([]byte("sealed")); err != nil {
		log.Fatal(err)
	}
	msg, err := s.Recv()
	fmt.Printf("%s, %v\n", msg, err)
	_, err = s.Recv()
	fmt.Println(err)
	// Output:
	// sealed, <nil>
	// EOF
}
