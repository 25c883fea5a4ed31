// Package proxyhttp makes HTTPS clients for use inside an enclave, which reach
// their servers through the parent:
//
//	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{
//		"kms.us-east-1.amazonaws.com:443": "vsock://3:8000",
//	}})
//	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: proxyhttp.AWSRoots()})
//	client := kms.New(kms.Options{HTTPClient: &http.Client{Transport: transport}, …})
//
// An enclave has no certificate store, and one that came with its image would
// be as old and as large as the image's maker left it. The roots are therefore
// in the program, and so in its measurements: all those of Mozilla's programme
// (Roots), or the few that AWS endpoints need (AWSRoots). They are as new as the
// golang.org/x/crypto/x509roots/fallback in the program's go.mod; nothing is
// set for the process as a whole.
//
// It is apart from package proxy so that a parent that only forwards, and an
// enclave that only dials, link neither net/http nor the roots.
//
// # What it does not protect from
//
// The parent decides whether a connection comes about, and sees its server,
// its times and its sizes. It may also tell the enclave a wrong time, with
// which an expired certificate looks valid; there is no revocation check.
// Whoever obtains a certificate for the server's name from any of the roots
// can, together with the parent, answer in the server's place: use AWSRoots
// for KMS.
package proxyhttp
