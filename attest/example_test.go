package attest_test

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

// An enclave attests to a verifier's nonce, here with a software NSM. In an
// enclave OpenNSM gets no options, and the verifier names no roots.
func Example() {
	image := attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	if err != nil {
		log.Fatal(err)
	}

	// The enclave.
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()
	nonce := []byte("the verifier's fresh random nonce")
	raw, err := nsm.Attest(context.Background(), attest.Request{Nonce: nonce})
	if err != nil {
		log.Fatal(err)
	}

	// The verifier.
	opts := attest.Options{
		Roots:  []*x509.Certificate{ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: image}}}, Nonce: nonce},
	}
	doc, err := attest.Verify(raw, opts)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("attested:", doc.ModuleID)

	opts.Policy.Nonce = []byte("another nonce")
	_, err = attest.Verify(raw, opts)
	fmt.Println(errors.Is(err, attest.ErrPolicy), err)
	// Output:
	// attested: i-0123456789abcdef0-enc0123456789abcde
	// true attest: refused by policy: nonce: not the expected 13 bytes
}

func ExamplePCR4() {
	fmt.Println(attest.PCR4("i-04fd167167daacf3b"))
	// Output:
	// 4554042339e6a1ddfac89db7da58231d5619073729344333aff055429abeec6b006f81b19d1176001b8291f885283106
}

// A policy file in the form that nitro-cli prints is read as it is.
func ExampleParsePolicy() {
	policy, err := attest.ParsePolicy([]byte(`{
		"Measurements": {
			"HashAlgorithm": "Sha384 { ... }",
			"PCR0": "55c0acc442fd815e161f100c45810298f5c37ce9f61b675e4f8ba82e32b9bab3b674a6ef557eaa7db7577221683bbe9f",
			"PCR1": "aca6e62ffbf5f7deccac452d7f8cee1b94048faf62afc16c8ab68c9fed8c38010c73a669f9a36e596032f0b973d21895",
			"PCR2": "41e46bdda449ee3fd792772e5b766cb090d2a4a1b0e5a0c5e52c84d426c76cfd298ea725500a107e71399697df2ae2eb"
		}
	}`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(policy.Measurements[0].PCRs), "registers must match")
	// Output: 3 registers must match
}

// What a document will say after the enclave has extended a register by the
// digest of its model and locked it.
func ExamplePCRs_Extended() {
	image := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))}
	model := sha512.Sum384([]byte("the model"))
	expected := image.Extended(16, model[:])
	fmt.Println(len(expected), "registers,", len(image), "before")
	// Output: 2 registers, 1 before
}
