package proxyhttp_test

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

// serve is a server at an address, as if the parent forwarded to it from there.
// Its certificate is for example.com, under a root of its own.
func serve(addr string) *httptest.Server {
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello from "+r.Host)
	}))
	srv.Listener.Close()
	srv.Listener = l
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	return srv
}

// An enclave believes the public roots and that of a company's own server. The
// transport goes to servers that it has a route to, and by https alone.
func ExampleRoots() {
	srv := serve("mem://internal") // behind the parent
	defer srv.Close()
	roots := proxyhttp.Roots() // the caller's own, to add to
	roots.AddCert(srv.Certificate())
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{
		"example.com:443": "mem://internal", // in an enclave: vsock://3:8000
	}})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: roots})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}

	resp, err := client.Get("https://example.com/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // a server is not trusted with memory
	fmt.Printf("%s, %v\n", body, err)
	_, err = client.Get("http://example.com/")
	fmt.Println(errors.Is(err, proxyhttp.ErrPlainHTTP))
	_, err = client.Get("https://elsewhere.example/")
	fmt.Println(errors.Is(err, proxy.ErrNoRoute))
	// Output:
	// hello from example.com, <nil>
	// true
	// true
}

// A client of AWS needs no more than Amazon's own roots. Whoever answers in the
// place of KMS is refused, whatever name is in the certificate, unless one of
// them stands behind it. Here example.com stands for an endpoint.
func ExampleAWSRoots() {
	imposter := serve("mem://imposter") // the parent leads there
	defer imposter.Close()
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{
		"example.com:443": "mem://imposter", // in an enclave: vsock://3:8000
	}})
	if err != nil {
		log.Fatal(err)
	}
	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: proxyhttp.AWSRoots()})
	if err != nil {
		log.Fatal(err)
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second} // kms.Options.HTTPClient

	_, err = client.Get("https://example.com/")
	var unknown x509.UnknownAuthorityError
	fmt.Println(errors.As(err, &unknown))
	// Output: true
}
