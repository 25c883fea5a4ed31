// Echo is the smallest server and client of package vsockrpc.
//
//	echo [-message TEXT]                            both, in this process
//	echo -listen vsock://any:5000                   the server, in an enclave
//	echo -dial vsock://16:5000 [-message TEXT]      the client, on its parent
//
// Addresses are those of vsockrpc.ParseAddr. The server runs until it is
// interrupted. Echo exits with 1 and one line if something fails, and with 2
// when called wrongly.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("echo", flag.ContinueOnError)
	fs.SetOutput(errOut)
	listen := fs.String("listen", "", "serve at `ADDR`")
	dial := fs.String("dial", "", "call the server at `ADDR`")
	message := fs.String("message", "hello, enclave", "`TEXT` to send")
	if fs.Parse(args) != nil {
		return 2
	}
	if fs.NArg() > 0 || *listen != "" && *dial != "" {
		fs.Usage()
		return 2
	}
	if err := echo(ctx, *listen, *dial, *message, out); err != nil && err != vsockrpc.ErrServerClosed {
		fmt.Fprintf(errOut, "echo: %v\n", err)
		return 1
	}
	return 0
}

func echo(ctx context.Context, listen, dial, message string, out io.Writer) error {
	addr := cmp.Or(listen, dial, "mem://echo")
	if dial == "" {
		l, err := vsockrpc.Listen(addr)
		if err != nil {
			return err
		}
		srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
		srv.Handle("echo", func(_ context.Context, req []byte) ([]byte, error) { return req, nil })
		fmt.Fprintln(out, "serving at", addr)
		if listen != "" {
			context.AfterFunc(ctx, func() { srv.Close() })
			return srv.Serve(l)
		}
		go srv.Serve(l)
		defer srv.Close()
	}
	c, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		return err
	}
	defer c.Close()
	answer, err := c.Call(ctx, "echo", []byte(message))
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s answered %q\n", addr, answer)
	return nil
}
