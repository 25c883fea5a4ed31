package session_test

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"iter"
	"log"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// simulated is an enclave with a simulated security module, and the policy that
// it meets. On AWS the attester is attest.OpenNSM(attest.NSMOptions{}), and the
// measurement comes from nitro-cli build-enclave (attest.ParsePolicy).
func simulated() (*session.Enclave, attest.Options, error) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return nil, attest.Options{}, err
	}
	pcrs := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		return nil, attest.Options{}, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return nil, attest.Options{}, err
	}
	enclave, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, Info: []byte("model larkfield")})
	return enclave, attest.Options{
		Roots:  []*x509.Certificate{ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: pcrs}}},
	}, err
}

// inProcess takes the place of network and parent (package sessionrpc).
type inProcess struct{ enclave *session.Enclave }

func (p inProcess) Attest(ctx context.Context, request []byte) ([]byte, error) {
	return p.enclave.Attest(ctx, request)
}

func (p inProcess) Ask(_ context.Context, request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if err := answer(p.enclave, request, func(segment []byte) error {
			if !yield(segment, nil) {
				return errors.New("the client left")
			}
			return nil
		}); err != nil {
			yield(nil, err)
		}
	}
}

// answer is what an enclave does with a request; sessionrpc.Register does it
// for a server.
func answer(enclave *session.Enclave, request []byte, send func([]byte) error) error {
	req, err := enclave.Open(request)
	if err != nil {
		return err // in clear: there is nothing to say under this request's key
	}
	defer clear(req.Payload)
	resp, err := req.Respond(send)
	if err != nil {
		return err
	}
	for _, token := range []string{"Your", " deductible", " is"} {
		if err := resp.Send([]byte(token)); err != nil {
			return nil
		}
	}
	resp.Finish([]byte(" $1,500."))
	return nil
}

// A client asks an enclave that it has verified, and prints the answer as it is
// generated.
func Example() {
	enclave, trusted, err := simulated()
	if err != nil {
		log.Fatal(err)
	}
	defer enclave.Close()
	client, err := session.NewClient(session.ClientOptions{Transport: inProcess{enclave}, Enclave: trusted})
	if err != nil {
		log.Fatal(err)
	}
	question := func(_ context.Context, e *session.Established, _ session.RequestID) ([]byte, error) {
		fmt.Printf("asking %s\n", e.Config.Info)
		return []byte("what is my deductible?"), nil
	}
	for message, err := range client.Ask(context.Background(), question) {
		if err != nil {
			log.Fatal(err) // what was printed before is authentic, but not all
		}
		fmt.Printf("%s", message)
	}
	// Output:
	// asking model larkfield
	// Your deductible is $1,500.
}

// A receipt proves to others what an enclave answered, without a network and
// years later.
func ExampleVerifyReceipt() {
	enclave, trusted, err := simulated()
	if err != nil {
		log.Fatal(err)
	}
	defer enclave.Close()
	claims := session.Claims{Request: []byte("what is my deductible?"), Response: []byte("$1,500"), Model: []byte("larkfield")}
	receipt, err := enclave.Receipt(context.Background(), claims)
	if err != nil {
		log.Fatal(err)
	}

	_, err = session.VerifyReceipt(receipt, trusted, claims)
	fmt.Println(err)
	claims.Response = []byte("$150")
	_, err = session.VerifyReceipt(receipt, trusted, claims)
	fmt.Println(err)
	// Output:
	// <nil>
	// session: the receipt does not prove this: it is about another response
}
