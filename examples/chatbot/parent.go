package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/front"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

const parentAbout = `
Takes encrypted questions over HTTP and passes them to the enclave, and lets
the enclave reach KMS: it holds ciphertext, and in this version the delegated
credentials, but no key, no question and no answer.

Each -egress ADDR=HOST:PORT listens on a vsock or unix address and forwards
every connection to that one host and port. TLS stays end to end between the
enclave and KMS.

Each -offer ADDR=FILE sends the file to whoever connects to ADDR, and closes.
That is how an enclave gets a sealed model, and the credentials to open it with,
which open nothing outside of the enclave.
`

func runParent(ctx context.Context, args []string, s streams) error {
	fs := newFlags("parent", parentAbout, s)
	listen := fs.String("listen", "127.0.0.1:5001", "`host:port` to serve HTTP on")
	enclave := fs.String("enclave", "vsock://16:5000", "address of the enclave: vsock://CID:PORT or unix:///PATH")
	certFile := fs.String("tls-cert", "", "PEM `file` of the certificate to serve HTTPS with; needs -tls-key")
	keyFile := fs.String("tls-key", "", "PEM `file` of its private key")
	timeout := fs.Duration("timeout", time.Minute, "longest time for one question")
	verbose := fs.Bool("v", false, "tell each step")
	supervised := supervisedFlag(fs)
	var egress, offers pairs
	fs.Var(&egress, "egress", "`ADDR=HOST:PORT`: let the enclave reach HOST:PORT through ADDR, such as vsock://3:8000 (repeatable)")
	fs.Var(&offers, "offer", "`ADDR=FILE`: send FILE to whoever connects to ADDR, such as vsock://any:8001 (repeatable)")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if (*certFile == "") != (*keyFile == "") {
		return badUsage(fs, "-tls-cert and -tls-key go together")
	}
	ctx, cancel := supervise(ctx, *supervised, s.in)
	defer cancel()

	logger := slog.New(slog.NewTextHandler(s.err, nil))
	var steps *step.Printer
	if *verbose {
		steps = step.New(s.err, "parent")
		logger = nil // the steps say it already
	}
	failed := make(chan error, len(egress)+len(offers)+1)
	for _, e := range egress {
		l, err := vsockrpc.Listen(e[0])
		if err != nil {
			return err
		}
		f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: e[1], Logger: logger})
		if err != nil {
			return err
		}
		defer f.Close()
		go func() { failed <- fmt.Errorf("egress to %s: %w", e[1], f.Serve(l)) }()
	}

	for _, o := range offers {
		serve, err := offer(ctx, o[0], o[1], logger)
		if err != nil {
			return err
		}
		go func() { failed <- serve() }()
	}

	client, err := vsockrpc.NewClient(*enclave, vsockrpc.ClientOptions{Logger: logger})
	if err != nil {
		return err
	}
	defer client.Close()
	srv := &http.Server{
		Handler:           front.NewHandler(front.Options{Enclave: client, Timeout: *timeout, Logger: logger, Steps: steps}),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      *timeout + 30*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if *certFile != "" {
		scheme = "https"
		cert, err := tls.LoadX509KeyPair(*certFile, *keyFile)
		if err != nil {
			return err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	} else if !net.IP.IsLoopback(l.Addr().(*net.TCPAddr).IP) {
		fmt.Fprintln(s.err, "WARNING: serving plain HTTP to the network, which can read the delegated credentials in it: give -tls-cert and -tls-key")
	}
	go func() { failed <- srv.Serve(l) }()
	if err := sayReady(s.out, local.ParentReady{URL: scheme + "://" + l.Addr().String()}); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.Background(), 3*time.Second)
	defer done()
	if err := srv.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return srv.Close()
}
