// Package proxy lets an enclave reach chosen servers through its parent.
//
// A Nitro Enclave has no network but vsock. The parent runs a Forwarder a
// server, which accepts connections on a vsock port and passes the bytes to
// one fixed host and port, as the vsock-proxy of the Nitro Enclaves CLI does,
// with which the enclave's side works as well. In the enclave a Dialer maps
// host:port to the parent's vsock ports and refuses everything else:
//
//	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{
//		"kms.us-east-1.amazonaws.com:443": "vsock://3:8000",
//	}})
//	transport := &http.Transport{DialContext: d.DialContext}
//
// The parent sees, and can change, every byte that passes. Use TLS, and end it
// in the enclave: net/http does, since it takes the Dialer's connection for
// one to the named host and checks that host's certificate.
package proxy
