package proxy_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// A parent that is to end lets the connections of its enclave come to theirs.
func ExampleForwarder_Shutdown() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	go func() {
		if conn, err := server.Accept(); err == nil {
			defer conn.Close()
			io.Copy(conn, conn)
		}
	}()
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: server.Addr().String()})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	l, err := vsockrpc.Listen("mem://ending") // on an instance: vsock://any:8000
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- f.Serve(l) }()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := vsockrpc.Dial(ctx, "mem://ending")
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	echo := func(line string) {
		fmt.Fprintln(conn, line)
		answer, err := answers.ReadString('\n')
		fmt.Print(answer)
		if err != nil {
			log.Fatal(err)
		}
	}
	echo("before")

	stopped := make(chan error, 1)
	go func() { stopped <- f.Shutdown(ctx) }()
	fmt.Println(errors.Is(<-served, proxy.ErrClosed)) // it accepts no more
	echo("meanwhile")
	conn.Close()
	fmt.Println(<-stopped)
	// Output:
	// before
	// true
	// meanwhile
	// <nil>
}

// Names are compared as they are written: case and a final dot make no
// difference, and nothing is resolved.
func ExampleAllowlist_Allows() {
	list, err := proxy.NewAllowlist("kms.us-east-1.amazonaws.com:443", "[2001:db8::1]:443")
	if err != nil {
		log.Fatal(err)
	}
	for _, target := range []string{
		"KMS.us-east-1.amazonaws.com.:443",
		"[2001:db8:0::1]:443",
		"kms.us-east-1.amazonaws.com:80",
		"sts.us-east-1.amazonaws.com:443",
	} {
		fmt.Println(list.Allows(target))
	}
	// Output:
	// true
	// true
	// false
	// false
}
