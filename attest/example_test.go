package attest_test

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
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

// The root that Verify trusts where Options name none, by the fingerprint that
// AWS publishes for it ("Verifying the root of trust").
func ExampleAWSRoot() {
	root := attest.AWSRoot()
	fmt.Printf("%X\n", sha256.Sum256(root.Raw))
	fmt.Println(root.Subject.CommonName, "until", root.NotAfter.Format(time.DateOnly))
	// Output:
	// 641A0321A3E244EFE456463195D606317ED7CDCC3C1756E09893F3C68F79BB5B
	// aws.nitro-enclaves until 2049-10-28
}

// A service that verifies many documents of few enclaves keeps one cache for
// all of them. It saves the signatures of the chain, and decides nothing: the
// nonce is of now, and a document over another one is refused as before.
func ExampleNewChainCache() {
	image := attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))}
	ca, nsm, err := simulated(image)
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()

	cache := attest.NewChainCache(0)
	for _, nonce := range []string{"first nonce", "second nonce", "third nonce"} {
		raw, err := nsm.Attest(context.Background(), attest.Request{Nonce: []byte(nonce)})
		if err != nil {
			log.Fatal(err)
		}
		_, err = attest.Verify(raw, attest.Options{
			Roots:  []*x509.Certificate{ca.Root()},
			Cache:  cache,
			Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: image}}, Nonce: []byte("second nonce")},
		})
		fmt.Println(err == nil, errors.Is(err, attest.ErrPolicy), "chains:", cache.Len())
	}
	// Output:
	// false true chains: 1
	// true false chains: 1
	// false true chains: 1
}

// A policy may ask for the role of the parent instance beside the image: a copy
// of the image that somebody else started is refused. PCR4 does so for one
// instance.
func ExamplePCR3() {
	image := attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))
	ca, nsm, err := simulated(attest.PCRs{0: image, 3: attest.PCR3("arn:aws:iam::444455556666:role/somebody-else")})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()
	raw, err := nsm.Attest(context.Background(), attest.Request{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = attest.Verify(raw, attest.Options{
		Roots: []*x509.Certificate{ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{
			0: image,
			3: attest.PCR3("arn:aws:iam::111122223333:role/parent"),
		}}}},
	})
	var refused *attest.PolicyError
	if errors.As(err, &refused) {
		fmt.Printf("refused for PCR%d of %s\n", refused.PCR, refused.Measurement)
	}
	// Output: refused for PCR3 of v1
}

// PCR8 comes from the certificate that signed the image alone. A policy with
// PCR8 accepts whatever its owner signs: use it to narrow PCR0, not for it.
func ExamplePCR8() {
	file, err := os.Open("eif/testdata/eif-signed.eif")
	if err != nil {
		log.Fatal(err)
	}
	defer file.Close()
	image, err := eif.Read(file)
	if err != nil {
		log.Fatal(err)
	}
	expected := attest.PCRs{0: image.PCRs[0], 8: attest.PCR8(image.SigningCertificate)}
	fmt.Println(expected[8].Equal(image.PCRs[8]), len(expected), "registers to match")
	// Output: true 2 registers to match
}

// The enclave binds what it has loaded to its attestation: it extends a free
// register by the digest and locks it. A verifier computes what to expect,
// beginning with zero. A register that was never extended is zero, and one that
// a document lacks is not: it equals nothing.
func ExampleZeroPCR() {
	ctx := context.Background()
	_, nsm, err := simulated(attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()
	model := sha512.Sum384([]byte("the model"))
	value, err := nsm.ExtendPCR(ctx, 16, model[:])
	if err != nil {
		log.Fatal(err)
	}
	if err := nsm.LockPCR(ctx, 16); err != nil {
		log.Fatal(err)
	}
	fmt.Println("as expected:", value.Equal(attest.ZeroPCR().Extend(model[:])))
	_, err = nsm.ExtendPCR(ctx, 16, model[:])
	fmt.Println("locked:", errors.Is(err, attest.CodeReadOnlyIndex))
	fmt.Println("absent:", attest.PCR(nil).Equal(attest.ZeroPCR()))
	// Output:
	// as expected: true
	// locked: true
	// absent: false
}

// simulated is a security module in software, whose enclave has these registers.
func simulated(pcrs attest.PCRs) (*nsmtest.CA, *attest.NSM, error) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return nil, nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		return nil, nil, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	return ca, nsm, err
}
