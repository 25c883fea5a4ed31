package envelope_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log"
	"os"

	"github.com/nitroseal/nitroseal/envelope"
)

// A client outside encrypts a question, which only the attested enclave reads.
// On AWS, api is kms.NewFromConfig(…), and the attester attest.OpenNSM(…).
func Example() {
	ctx := context.Background()
	api, keyARN, recipient, stop, err := setup(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	question := envelope.EncryptionContext{"direction": "request"}

	outside, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: keyARN})
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := outside.Encrypt(ctx, []byte("how do I reset my password?"), question)
	if err != nil {
		log.Fatal(err)
	}
	_, err = outside.DecryptUnattested(ctx, ciphertext, question)
	fmt.Println("outside:", errors.Is(err, envelope.ErrDenied))

	inside, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: keyARN, Recipient: recipient})
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := inside.Decrypt(ctx, ciphertext, question)
	if err != nil {
		log.Fatal(err)
	}
	defer clear(plaintext)
	fmt.Printf("inside: %s\n", plaintext)
	// Output:
	// outside: true
	// inside: how do I reset my password?
}

// The data key of a file, which the enclave asks for and can read.
func ExampleClient_GenerateDataKey() {
	ctx := context.Background()
	api, keyARN, recipient, stop, err := setup(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	c, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: keyARN, Recipient: recipient})
	if err != nil {
		log.Fatal(err)
	}
	key, err := c.GenerateDataKey(ctx, envelope.EncryptionContext{"file": "model.gguf"})
	if err != nil {
		log.Fatal(err)
	}
	defer clear(key.Plaintext)
	fmt.Println(len(key.Plaintext), "bytes")
	// Output: 32 bytes
}

// A CiphertextForRecipient that was kept, and the key that it was made for.
func ExampleUnwrapCMS() {
	block, _ := pem.Decode(must(os.ReadFile("testdata/cms/real/k4-awssamples.key.pem")))
	key, err := x509.ParsePKCS1PrivateKey(block.Bytes)
	if err != nil {
		log.Fatal(err)
	}
	message := must(os.ReadFile("testdata/cms/real/k4-awssamples.cms"))
	plaintext, err := envelope.UnwrapCMS(key, message, envelope.UnwrapOptions{})
	fmt.Println(len(plaintext), "bytes,", err)
	_, err = envelope.UnwrapCMS(key, message[:100], envelope.UnwrapOptions{})
	fmt.Println(err)
	// Output:
	// 154 bytes, <nil>
	// envelope: cannot open the ciphertext for the recipient
}

func must(b []byte, err error) []byte {
	if err != nil {
		log.Fatal(err)
	}
	return b
}
