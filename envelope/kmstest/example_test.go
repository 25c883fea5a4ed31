package kmstest_test

import (
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// A key policy is tried out: with the same credentials the enclave decrypts,
// by its attestation, and its parent, which has none, is refused.
func ExampleNewServer() {
	ctx := context.Background()
	const role = "arn:aws:iam::111122223333:role/parent"
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		log.Fatal(err)
	}
	pcr0 := attest.PCRFromDigest(sha512.Sum384([]byte("the enclave image")))
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: pcr0}})
	if err != nil {
		log.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		log.Fatal(err)
	}
	defer nsm.Close()

	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		log.Fatal(err)
	}
	key, err := srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Encrypt", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Decrypt", "Resource": "*",
		 "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": %[2]q}}}]}`, role, pcr0)})
	if err != nil {
		log.Fatal(err)
	}

	api := kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		log.Fatal(err)
	}
	c, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: key, Recipient: recipient})
	if err != nil {
		log.Fatal(err)
	}
	question := envelope.EncryptionContext{"direction": "request"}
	ciphertext, err := c.Encrypt(ctx, []byte("what is my deductible?"), question)
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.DecryptUnattested(ctx, ciphertext, question)
	fmt.Println("parent denied:", errors.Is(err, envelope.ErrDenied))
	plaintext, err := c.Decrypt(ctx, ciphertext, question)
	fmt.Printf("enclave: %s %v\n", plaintext, err)
	// Output:
	// parent denied: true
	// enclave: what is my deductible? <nil>
}

// Over HTTPS, as the real one is: a client that ends TLS itself, as an enclave
// must, is told to trust the server's certificate, and refuses it otherwise.
func ExampleNewTLSServer() {
	srv, err := kmstest.NewTLSServer(kmstest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(srv.CACertPEM()) {
		log.Fatal("no certificate")
	}
	list := func(roots *x509.CertPool) error {
		api := kms.New(kms.Options{
			Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
			HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		})
		_, err := api.ListKeys(context.Background(), nil)
		return err
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: "arn:aws:iam::111122223333:role/client", AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println("trusted:", list(roots))
	var untrusted *tls.CertificateVerificationError
	fmt.Println("not trusted:", errors.As(list(x509.NewCertPool()), &untrusted))
	// Output:
	// trusted: <nil>
	// not trusted: true
}

// The server without a listener of its own, behind what a test wants to see or
// to break. Here it is too busy at first, and the SDK tries again.
func ExampleNew() {
	srv, err := kmstest.New(kmstest.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()
	if err := srv.AddPrincipal(kmstest.Principal{ARN: "arn:aws:iam::111122223333:role/client", AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		log.Fatal(err)
	}
	var requests atomic.Int32
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		srv.Handler().ServeHTTP(w, r)
	}))
	defer web.Close()

	api := kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(web.URL),
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		Retryer: retry.NewStandard(func(o *retry.StandardOptions) {
			o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		}),
	})
	out, err := api.ListKeys(context.Background(), nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(out.Keys), "keys after", requests.Load(), "requests")
	// Output: 0 keys after 2 requests
}
