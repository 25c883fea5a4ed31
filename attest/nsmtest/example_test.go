package nsmtest_test

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"log"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
)

// Two processes simulate under one root: the one that made it writes it to a
// file, which holds the private key, and verifiers trust its certificate alone.
func ExampleParseCA() {
	made, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	file, err := made.MarshalPEM()
	if err != nil {
		log.Fatal(err)
	}

	// The other process.
	ca, err := nsmtest.ParseCA(file)
	if err != nil {
		log.Fatal(err)
	}
	image := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: image})
	if err != nil {
		log.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()
	raw, err := nsm.Attest(context.Background(), attest.Request{})
	if err != nil {
		log.Fatal(err)
	}

	policy := attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: image}}}
	_, err = attest.Verify(raw, attest.Options{Roots: []*x509.Certificate{made.Root()}, Policy: policy})
	fmt.Println("with the root:", err)
	_, err = attest.Verify(raw, attest.Options{Policy: policy})
	fmt.Println("with AWS's:", errors.Is(err, attest.ErrUntrusted))
	// Output:
	// with the root: <nil>
	// with AWS's: true
}

// How a program takes the failure of a module can be tested: here it fails each
// request for a document, and nothing else.
func ExampleNew() {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, Fault: func(op string) *nsmtest.Fault {
		if op != "Attestation" {
			return nil
		}
		return &nsmtest.Fault{Code: attest.CodeInternalError}
	}})
	if err != nil {
		log.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()
	_, err = nsm.Attest(context.Background(), attest.Request{})
	fmt.Println(errors.Is(err, attest.CodeInternalError))
	description, err := nsm.Describe(context.Background())
	fmt.Println(description.ModuleID == nsmtest.DefaultModuleID, err)
	// Output:
	// true
	// true <nil>
}
