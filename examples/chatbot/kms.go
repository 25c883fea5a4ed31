package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
)

const kmsAbout = `
Runs a local server that speaks the AWS KMS protocol over TLS, checks request
signatures, evaluates the key policy and verifies attestation documents: what
AWS KMS would refuse, it refuses. Keys live in memory and end with it. It is
for development: it believes the software NSM whose root the configuration
names.
`

func runKMS(ctx context.Context, args []string, s streams) error {
	fs := newFlags("kms", kmsAbout, s)
	configFile := fs.String("config", "", "`file` with region, keys and their policies, principals and NSM root (required)")
	listen := fs.String("listen", "127.0.0.1:0", "`host:port` to serve HTTPS on")
	plain := fs.String("plain-listen", "", "`host:port` of this machine to serve plain HTTP on as well, for clients that do not know the CA")
	caOut := fs.String("ca-out", "", "`file` to write the server's throw-away CA certificate to (required)")
	supervised := supervisedFlag(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *configFile == "" || *caOut == "" {
		return badUsage(fs, "-config and -ca-out are required")
	}
	if *plain != "" && !onThisMachine(*plain) {
		return badUsage(fs, "-plain-listen must be a loopback address")
	}
	ctx, cancel := supervise(ctx, *supervised, s.in)
	defer cancel()
	config, root, err := readKMSConfig(*configFile)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	srv, err := kmstest.NewTLSServer(kmstest.Options{Region: config.Region, AttestationRoots: []*x509.Certificate{root}, Listener: l})
	if err != nil {
		return err
	}
	defer srv.Close()
	for _, p := range config.Principals {
		err := srv.AddPrincipal(kmstest.Principal{ARN: p.ARN, AccessKeyID: p.AccessKeyID, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken})
		if err != nil {
			return err
		}
	}
	arns := map[string]string{}
	for _, k := range config.Keys {
		if arns[k.Alias], err = srv.CreateKey(kmstest.KeyOptions{Policy: string(k.Policy), Alias: k.Alias}); err != nil {
			return err
		}
	}
	if err := os.WriteFile(*caOut, srv.CACertPEM(), 0o644); err != nil {
		return err
	}
	ready := local.KMSReady{Endpoint: srv.URL(), CAFile: *caOut, KeyARNs: arns}
	if *plain != "" {
		l, err := net.Listen("tcp", *plain)
		if err != nil {
			return err
		}
		also := &http.Server{Handler: srv.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 30 * time.Second}
		defer also.Close()
		go also.Serve(l)
		ready.PlainEndpoint = "http://" + l.Addr().String()
	}
	if err := sayReady(s.out, ready); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// onThisMachine reports whether a host:port to listen on is for this machine only.
func onThisMachine(hostPort string) bool {
	host, _, err := net.SplitHostPort(hostPort)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

func readKMSConfig(name string) (local.KMSConfig, *x509.Certificate, error) {
	var config local.KMSConfig
	data, err := os.ReadFile(name)
	if err != nil {
		return config, nil, err
	}
	if json.Unmarshal(data, &config) != nil {
		return config, nil, fmt.Errorf("%s is not a configuration in JSON", name)
	}
	block, _ := pem.Decode([]byte(config.NSMRoot))
	if block == nil {
		return config, nil, errors.New("nsm_root is no PEM certificate")
	}
	root, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return config, nil, fmt.Errorf("nsm_root: %w", err)
	}
	return config, root, nil
}
