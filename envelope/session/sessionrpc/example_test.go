package sessionrpc_test

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"log"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// An enclave serves sessions, and a client asks it. On AWS the address is
// vsock://any:5000, the attester attest.OpenNSM(attest.NSMOptions{}), and
// between the two is a Relay on the parent, to which the client goes with
// NewHTTPTransport.
func Example() {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	image := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: image})
	if err != nil {
		log.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()

	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm})
	if err != nil {
		log.Fatal(err)
	}
	defer enclave.Close()
	server := vsockrpc.NewServer(vsockrpc.ServerOptions{})
	defer server.Close()
	sessionrpc.Register(server, enclave, func(_ context.Context, req *session.Request, resp *session.Response) error {
		if len(req.Payload) == 0 {
			return &session.RemoteError{Code: "empty", Message: "there is no question"}
		}
		resp.Send([]byte("hello, "))
		return resp.Finish(req.Payload)
	})
	listener, err := vsockrpc.Listen("mem://sessionrpc-example")
	if err != nil {
		log.Fatal(err)
	}
	go server.Serve(listener)

	rpc, err := vsockrpc.NewClient("mem://sessionrpc-example", vsockrpc.ClientOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer rpc.Close()
	client, err := session.NewClient(session.ClientOptions{
		Transport: sessionrpc.NewTransport(rpc),
		Enclave: attest.Options{
			Roots:  []*x509.Certificate{ca.Root()},
			Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: image}}},
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range []string{"enclave", ""} {
		for message, err := range client.Ask(context.Background(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
			return []byte(name), nil
		}) {
			if err != nil {
				fmt.Println(err)
				break
			}
			fmt.Printf("%s", message)
		}
		fmt.Println()
	}
	// Output:
	// hello, enclave
	// session: the enclave answered empty: there is no question
}
