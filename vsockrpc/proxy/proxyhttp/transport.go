package proxyhttp

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"time"

	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

// ErrPlainHTTP is returned for requests with an http URL, redirects included:
// the parent would read them.
var ErrPlainHTTP = errors.New("proxyhttp: plain HTTP is refused, the parent would read it")

// Limits of a transport.
const (
	// A parent's Forwarder takes 512 connections by default; a parent has at
	// most four enclaves.
	maxConnsPerHost = 128
	maxHeaderBytes  = 64 << 10
)

// Options configures NewTransport.
type Options struct {
	// Dialer has a route to each server. Required.
	Dialer *proxy.Dialer
	// RootCAs are those under which servers are believed. nil means Roots,
	// never the system's.
	RootCAs *x509.CertPool
}

// NewTransport returns an http.Transport that connects by the Dialer alone and
// ends TLS here, in the enclave. It is safe for concurrent use, and its fields
// may be changed before the first request. Requests fail with
// proxy.ErrNoRoute for servers without a route and with ErrPlainHTTP for http
// URLs; a Clone takes those again.
//
//   - TLS 1.2 or newer.
//   - No proxy from the environment.
//   - HTTP/1.1 only. HTTP/2 would put all requests to a server on one
//     connection, so that one loss or one stalled forwarder holds up all of
//     them, and would bring more code to what the enclave trusts.
//   - Connecting takes at most 10 seconds for TLS, and an answer's header 30
//     seconds and 64 KiB. A whole answer is bounded by the request's context
//     or http.Client.Timeout alone.
//   - At most 128 connections to a server, further requests wait for one; 64
//     of them are kept idle, for a minute: less than a Forwarder keeps them.
func NewTransport(opts Options) (*http.Transport, error) {
	if opts.Dialer == nil {
		return nil, errors.New("proxyhttp: a transport needs a Dialer")
	}
	if opts.RootCAs == nil {
		opts.RootCAs = Roots()
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	t := &http.Transport{
		DialContext:            opts.Dialer.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: opts.RootCAs, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    10 * time.Second,
		ResponseHeaderTimeout:  30 * time.Second,
		ExpectContinueTimeout:  time.Second,
		IdleConnTimeout:        time.Minute,
		MaxIdleConns:           2 * maxConnsPerHost,
		MaxIdleConnsPerHost:    maxConnsPerHost / 2,
		MaxConnsPerHost:        maxConnsPerHost,
		MaxResponseHeaderBytes: maxHeaderBytes,
		Protocols:              &protocols,
	}
	t.RegisterProtocol("http", plainHTTP{})
	return t, nil
}

// plainHTTP refuses requests, before anything is dialled.
type plainHTTP struct{}

func (plainHTTP) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close() // as every RoundTripper must
	}
	return nil, ErrPlainHTTP
}
