package sessionrpc_test

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http/httptest"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// The parent passes sealed requests of HTTP clients on to its enclaves. On AWS
// the pool's addresses are such as vsock://16:5000, and the http.Server around
// the Relay ends TLS and has no WriteTimeout.
func ExampleNewRelay() {
	address, trusted, stop, err := serveEnclave()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	// The parent.
	pool, err := vsockrpc.NewPool([]string{address}, vsockrpc.PoolOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer pool.Close()
	relay, err := sessionrpc.NewRelay(sessionrpc.RelayOptions{Pool: pool})
	if err != nil {
		log.Fatal(err)
	}
	parent := httptest.NewServer(relay)
	defer parent.Close()

	// The client.
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: parent.URL})
	if err != nil {
		log.Fatal(err)
	}
	client, err := session.NewClient(session.ClientOptions{Transport: transport, Enclave: trusted})
	if err != nil {
		log.Fatal(err)
	}
	question := func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		return []byte("what is my deductible?"), nil
	}
	for message, err := range client.Ask(context.Background(), question) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s\n", message)
	}
	parent.Close()
	for _, err := range client.Ask(context.Background(), question) {
		fmt.Println("parent gone:", errors.Is(err, sessionrpc.ErrUnreachable))
	}
	// Output:
	// you asked: what is my deductible?
	// parent gone: true
}

// serveEnclave serves sessions as an enclave does, and returns its address and
// what a client should trust.
func serveEnclave() (address string, trusted attest.Options, stop func(), err error) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return "", trusted, nil, err
	}
	image := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: image})
	if err != nil {
		return "", trusted, nil, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return "", trusted, nil, err
	}
	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm})
	if err != nil {
		return "", trusted, nil, err
	}
	server := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest})
	sessionrpc.Register(server, enclave, func(_ context.Context, req *session.Request, resp *session.Response) error {
		return resp.Finish(append([]byte("you asked: "), req.Payload...))
	})
	address = "mem://sessionrpc-example-relay"
	listener, err := vsockrpc.Listen(address)
	if err != nil {
		return "", trusted, nil, err
	}
	go server.Serve(listener)
	return address, attest.Options{
		Roots:  []*x509.Certificate{ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: image}}},
	}, func() { server.Close(); enclave.Close(); nsm.Close() }, nil
}
