package proxy_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

// The parent gives each target of its allowlist an address of its own. Here
// they are unix sockets; on an instance, vsock://any:8000 and so on.
func Example() {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s of %s", r.URL.Path[1:], r.Host)
	}))
	defer srv.Close()
	dir, err := os.MkdirTemp("", "egress")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// On the parent.
	list, err := proxy.NewAllowlist(srv.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	var addr string
	for i, target := range list.Targets() {
		f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: target, Allowlist: list})
		if err != nil {
			log.Fatal(err)
		}
		defer f.Close()
		addr = "unix://" + filepath.Join(dir, fmt.Sprint(8000+i))
		l, err := vsockrpc.Listen(addr)
		if err != nil {
			log.Fatal(err)
		}
		go f.Serve(l)
	}

	// In the enclave. The name is that of the server's certificate.
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"example.com:443": addr}})
	if err != nil {
		log.Fatal(err)
	}
	roots := x509.NewCertPool() // for AWS it is proxyhttp.AWSRoots()
	roots.AddCert(srv.Certificate())
	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: d, RootCAs: roots})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	resp, err := client.Get("https://example.com/greetings")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	fmt.Printf("%s, %v\n", body, err)
	_, err = client.Get("https://elsewhere.example/")
	fmt.Println(errors.Is(err, proxy.ErrNoRoute))
	// Output:
	// greetings of example.com, <nil>
	// true
}

func ExampleParseAllowlist() {
	list, err := proxy.ParseAllowlist(strings.NewReader(`allowlist:
- {address: kms.us-east-1.amazonaws.com, port: 443}
- {address: sts.us-east-1.amazonaws.com, port: 443}
`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(list.Targets())
	_, err = proxy.NewForwarder(proxy.ForwarderOptions{Target: "169.254.169.254:80", Allowlist: list})
	fmt.Println(err)
	_, err = proxy.ParseAllowlist(strings.NewReader("allowlist:\n- {address: \"*.amazonaws.com\", port: 443}\n"))
	fmt.Println(err)
	// Output:
	// [kms.us-east-1.amazonaws.com:443 sts.us-east-1.amazonaws.com:443]
	// proxy: the target is not on the allowlist: 169.254.169.254:80
	// proxy: allowlist, line 2: the address is neither a host name nor an IP address
}

// A Forwarder's numbers, for whatever collects metrics.
func ExampleForwarder_Stats() {
	f, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: "kms.us-east-1.amazonaws.com:443"})
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	s := f.Stats()
	fmt.Println(s.Active, "connections,", s.BytesUp, "bytes up,", s.BytesDown, "bytes down")
	// Output: 0 connections, 0 bytes up, 0 bytes down
}

// Package database/sql drivers and other clients of TCP take a Dialer as well;
// TLS is then theirs to end in the enclave.
func ExampleDialer_DialContext() {
	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"db.internal.example:5432": "vsock://3:8001"}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = d.DialContext(context.Background(), "tcp", "db.internal.example:22")
	fmt.Println(err)
	// Output: proxy: no route to this address: "tcp" "db.internal.example:22"
}
