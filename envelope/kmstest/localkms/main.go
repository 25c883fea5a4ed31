// Localkms runs a local AWS KMS for development: package kmstest as a program.
//
//	localkms -state FILE >env &
//	. ./env
//	aws kms create-key
//
// It prints what the AWS CLI and SDKs need to find it, as shell commands, and
// then serves until it is interrupted. One principal, the role "developer", may
// do everything with keys that are created without a policy; -principals names
// others. It enforces signatures, key policies and attestation as AWS KMS does;
// what it does not do is said by package kmstest.
//
// Without -state keys end with the program. The state file holds key material
// in clear: it is for test data.
//
// It exits with 1 when it cannot serve, and with 2 when called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// flags are the command line.
type flags struct {
	listen, region, account                   string
	state, principals, policy, nsmRoot, caPEM string
	tls                                       bool
}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	var f flags
	fs := flag.NewFlagSet("localkms", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&f.listen, "listen", "127.0.0.1:4599", "`host:port` to serve on; port 0 takes a free one")
	fs.BoolVar(&f.tls, "tls", false, "serve HTTPS under a throw-away CA; needs -ca-out")
	fs.StringVar(&f.caPEM, "ca-out", "", "`file` to write the CA certificate to")
	fs.StringVar(&f.region, "region", "us-east-1", "AWS `region` to be")
	fs.StringVar(&f.account, "account", "111122223333", "AWS `account` to be")
	fs.StringVar(&f.state, "state", "", "`file` that keeps keys, aliases and policies")
	fs.StringVar(&f.principals, "principals", "", "JSON `file` with the principals: a list of objects with arn, access_key_id, secret_access_key and, if there is one, session_token")
	fs.StringVar(&f.policy, "default-policy", "", "`file` with the key policy of keys that are created without one")
	fs.StringVar(&f.nsmRoot, "nsm-root", "", "PEM `file` with the root of a simulated NSM, to believe instead of AWS's")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() > 0 || f.tls != (f.caPEM != "") {
		fmt.Fprintln(errOut, "localkms: takes no arguments, and -tls only together with -ca-out")
		fs.Usage()
		return 2
	}
	if err := serve(ctx, f, out, slog.New(slog.NewTextHandler(errOut, nil))); err != nil {
		fmt.Fprintf(errOut, "localkms: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, f flags, out io.Writer, log *slog.Logger) (err error) {
	opts := kmstest.Options{Region: f.region, Account: f.account, StateFile: f.state, Logger: log}
	principals, err := f.read(&opts)
	if err != nil {
		return err
	}
	if opts.Listener, err = net.Listen("tcp", f.listen); err != nil {
		return err
	}
	defer opts.Listener.Close()
	if addr, ok := opts.Listener.Addr().(*net.TCPAddr); !f.tls && (!ok || !addr.IP.IsLoopback()) {
		return errors.New("-listen is no loopback address: without -tls everybody on the network would read keys and plaintext")
	}
	start := kmstest.NewServer
	if f.tls {
		start = kmstest.NewTLSServer
	}
	srv, err := start(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	for _, p := range principals {
		if err := srv.AddPrincipal(p); err != nil {
			return err
		}
	}
	if f.tls {
		if err := os.WriteFile(f.caPEM, srv.CACertPEM(), 0o644); err != nil {
			return err
		}
	}
	if err := f.say(out, srv.URL(), principals[0]); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}
