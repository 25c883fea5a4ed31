package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// A handler chooses what the client learns. Of an error that is neither an
// *Error nor a Code nothing is told but that there was one, since its text may
// repeat a secret.
func ExampleCodeOf() {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer srv.Close()
	vsockrpc.Handle(srv, "open", func(ctx context.Context, name string) (string, error) {
		switch name {
		case "slow":
			<-ctx.Done() // the client's deadline ends the handler's context too
			return "", ctx.Err()
		case "broken":
			return "", errors.New("cannot decrypt: the question was …")
		}
		return "", &vsockrpc.Error{Code: vsockrpc.NotFound, Message: "there is no such model"}
	})
	c := connect(srv, "mem://models") // listens, serves, and makes a client
	defer c.Close()

	open := func(name string, timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		_, err := vsockrpc.Call[string, string](ctx, c, "open", name)
		return err
	}
	err := open("bloom", 10*time.Second)
	fmt.Println(err)
	fmt.Println(errors.Is(err, vsockrpc.NotFound)) // to ask for one code
	fmt.Println(open("broken", 10*time.Second))
	switch code := vsockrpc.CodeOf(open("slow", time.Millisecond)); code { // to choose among several
	case vsockrpc.DeadlineExceeded:
		fmt.Println("it took too long")
	default:
		fmt.Println(code)
	}
	// Output:
	// vsockrpc: not found: there is no such model
	// true
	// vsockrpc: internal: the handler failed
	// it took too long
}

// A call that cannot be made twice, such as one that spends something, is
// repeated only where no handler can have seen it. Client and Pool do so, too,
// where they can; this error is what is left.
func ExampleUnprocessed() {
	c, err := vsockrpc.NewClient("mem://starting", vsockrpc.ClientOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = c.Call(ctx, "spend", nil)
	fmt.Println(errors.Is(err, vsockrpc.Unavailable), vsockrpc.Unprocessed(err)) // nobody listens yet

	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	srv.Handle("spend", func(context.Context, []byte) ([]byte, error) {
		srv.Close() // as if the process had ended in the middle of it
		return nil, nil
	})
	l, err := vsockrpc.Listen("mem://starting")
	if err != nil {
		log.Fatal(err)
	}
	go srv.Serve(l)
	_, err = c.Call(ctx, "spend", nil)
	fmt.Println(errors.Is(err, vsockrpc.Unavailable), vsockrpc.Unprocessed(err)) // it may be spent
	// Output:
	// true true
	// true false
}
