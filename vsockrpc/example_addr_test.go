package vsockrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// An address of the configuration is checked when the program starts. TCP
// beyond this machine is refused, since nothing is encrypted.
func ExampleParseAddr() {
	a, err := vsockrpc.ParseAddr("vsock://16:5000")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(a.Scheme, a.CID, a.Port)
	a.CID = vsockrpc.AnyCID // the same port, to listen on
	fmt.Println(a)
	_, err = vsockrpc.ParseAddr("tcp://10.0.0.1:5000")
	fmt.Println(err)
	// Output:
	// vsock 16 5000
	// vsock://any:5000
	// vsockrpc: address "tcp://10.0.0.1:5000": only loopback addresses are taken: nothing is encrypted here
}

// Listen and Dial are for other protocols than this package's own: what they
// return are connections as any.
func ExampleDial() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := vsockrpc.Dial(ctx, "mem://banner")
	fmt.Println(errors.Is(err, syscall.ECONNREFUSED)) // nobody listens yet

	l, err := vsockrpc.Listen("mem://banner")
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "ready")
	}()
	conn, err := vsockrpc.Dial(ctx, "mem://banner")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline) // ctx bounds the attempt to connect only
	}
	banner, err := io.ReadAll(conn)
	fmt.Printf("%s, %v\n", banner, err)
	// Output:
	// true
	// ready, <nil>
}
