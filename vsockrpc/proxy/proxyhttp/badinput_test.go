package proxyhttp_test

import (
	"context"
	"crypto/x509"
	"net/http"
	"testing"

	"github.com/nitroseal/nitroseal/internal/badinput"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/vsockrpc-proxy-proxyhttp.md.
func TestBadInput(t *testing.T) {
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{"kms.example:443": "mem://badinput"}})
	if err != nil {
		t.Fatal(err)
	}
	get := func(input, url string, want badinput.Outcome) badinput.Case {
		return badinput.On("NewTransport", "and then a request for "+input, want, func(ctx context.Context) error {
			transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: x509.NewCertPool()})
			if err != nil {
				return err
			}
			defer transport.CloseIdleConnections()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return err
			}
			resp, err := transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		})
	}
	badinput.Table{
		Package: "vsockrpc/proxy/proxyhttp",
		Cases: []badinput.Case{
			badinput.On("NewTransport", "zero options", badinput.Plain(), func(context.Context) error {
				_, err := proxyhttp.NewTransport(proxyhttp.Options{})
				return err
			}),
			get("an http URL", "http://kms.example:443/", badinput.Is("proxyhttp.ErrPlainHTTP", proxyhttp.ErrPlainHTTP)),
			get("a server without a route", "https://evil.example/", badinput.Is("proxy.ErrNoRoute", proxy.ErrNoRoute)),
		},
		NoInput: []string{"AWSRoots", "Roots"},
	}.Run(t)
}
