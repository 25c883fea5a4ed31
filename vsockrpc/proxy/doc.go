// Package proxy lets an enclave reach chosen servers through its parent.
//
// A Nitro Enclave has no network but vsock. The parent runs a Forwarder a
// server, which accepts connections on a vsock port and passes the bytes to
// one fixed host and port, as the vsock-proxy of the Nitro Enclaves CLI does,
// with which the enclave's side works as well:
//
//	file, err := os.Open("/etc/nitro_enclaves/vsock-proxy.yaml")
//	list, err := proxy.ParseAllowlist(file)
//	f, err := proxy.NewForwarder(proxy.ForwarderOptions{
//		Target: "kms.us-east-1.amazonaws.com:443", Allowlist: list,
//	})
//	l, err := vsockrpc.Listen("vsock://any:8000")
//	err = f.Serve(l)
//
// In the enclave a Dialer maps host:port to the parent's vsock ports and
// refuses everything else. Package proxyhttp makes an HTTPS transport of it,
// with the root certificates in the program:
//
//	d, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{
//		"kms.us-east-1.amazonaws.com:443": "vsock://3:8000",
//	}})
//	transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: d, RootCAs: proxyhttp.AWSRoots()})
//
// The target's name is resolved for each connection, so that the next one
// follows a change in DNS; open connections stay where they are. Half-closed
// connections go on in the other direction. Each connection is passed on by
// itself: one whose reader stops holds 64 KiB here and nobody up. Forwarder.Stats
// counts what passes.
//
// # What it does not protect from
//
// The parent sees, and can change, every byte that passes. Use TLS, and end it
// in the enclave. It can also end connections, and an abrupt end of one side
// reaches the other as an orderly one: TLS and HTTP tell a cut answer from a
// whole one, plain TCP does not.
//
// The allowlist keeps an honest parent from forwarding where its operator did
// not mean to. It keeps nothing from a parent that is not honest, nor does it
// keep an enclave from sending out what it holds: whoever can answer for an
// allowed name, or has an account at the service behind it, may be the
// recipient.
//
// Names that resolve to the parent's loopback or link-local addresses are not
// followed, so that DNS does not open the instance metadata service, and with
// it the parent's credentials, to the enclave. Private addresses are, for VPC
// endpoints have them; what the parent itself serves on such an address is
// therefore within reach of whoever controls an allowed name, at that port.
package proxy
