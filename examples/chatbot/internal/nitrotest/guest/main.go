// Guest is the half of nitrotest that runs in the virtual machine: it does with
// /dev/nsm what an enclave does, once, and tells what came of it by RPC.
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"github.com/hf/nsm"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/nitrotest/report"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "nitrotest:", err)
		os.Exit(1)
	}
}

func serve() error {
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	var once sync.Once // registers are extended and locked
	vsockrpc.Handle(srv, report.Method, func(ctx context.Context, req report.Request) (report.Report, error) {
		r := report.Report{Failed: []string{"it was asked twice"}}
		once.Do(func() { r = report.Make(ctx, nsm.DefaultOptions, req.Nonce) })
		return r, nil
	})
	l, err := vsockrpc.Listen(fmt.Sprintf("vsock://any:%d", report.Port))
	if err != nil {
		return err
	}
	fmt.Println(report.Ready)
	return srv.Serve(l)
}
