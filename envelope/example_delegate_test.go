package envelope_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// A client has the enclave read one ciphertext, and gives it no credentials:
// it signs the one request to KMS that does so, for the one enclave that it has
// verified. On AWS the attester is attest.OpenNSM(…), and Endpoint AWS's.
func ExampleSignDecrypt() {
	ctx := context.Background()
	nsm, client, stop, err := simulateDelegation()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()

	// The enclave: its key for answers of KMS, attested.
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		log.Fatal(err)
	}
	document, err := recipient.Document(ctx)
	if err != nil {
		log.Fatal(err)
	}

	// The client: its role may encrypt, and decrypt only for the enclave.
	question := envelope.EncryptionContext{"direction": "request", "id": "1"}
	outside, err := envelope.NewClient(envelope.Options{KMS: client.api, KeyID: client.sign.KeyID})
	if err != nil {
		log.Fatal(err)
	}
	ciphertext, err := outside.Encrypt(ctx, []byte("how do I reset my password?"), question)
	if err != nil {
		log.Fatal(err)
	}
	signed, err := envelope.SignDecrypt(ctx, client.sign, ciphertext, question, document)
	if err != nil {
		log.Fatal(err)
	}

	// The enclave again, to which anyone may carry ciphertext and request.
	courier, err := envelope.NewCourier(envelope.CourierOptions{
		HTTP: http.DefaultClient, Endpoint: client.sign.Endpoint, KeyID: client.sign.KeyID, Recipient: recipient,
	})
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := courier.Decrypt(ctx, signed, question)
	if err != nil {
		log.Fatal(err)
	}
	defer clear(plaintext)
	fmt.Printf("%s\n", plaintext)
	_, err = courier.Decrypt(ctx, signed, envelope.EncryptionContext{"direction": "request", "id": "2"})
	fmt.Println("for another question:", errors.Is(err, envelope.ErrNotDelegated))
	// Output:
	// how do I reset my password?
	// for another question: true
}

// A client signs for an enclave to get a data key, under which the enclave
// seals its answer. It verifies the enclave first: for another one than the
// policy names there is no request.
func ExampleSignGenerateDataKey() {
	ctx := context.Background()
	nsm, client, stop, err := simulateDelegation()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		log.Fatal(err)
	}
	courier, err := envelope.NewCourier(envelope.CourierOptions{
		HTTP: http.DefaultClient, Endpoint: client.sign.Endpoint, KeyID: client.sign.KeyID, Recipient: recipient,
	})
	if err != nil {
		log.Fatal(err)
	}
	document, err := recipient.Document(ctx)
	if err != nil {
		log.Fatal(err)
	}

	answer := envelope.EncryptionContext{"direction": "response", "id": "1"}
	signed, err := envelope.SignGenerateDataKey(ctx, client.sign, answer, document)
	if err != nil {
		log.Fatal(err)
	}
	key, err := courier.GenerateDataKey(ctx, signed, answer)
	if err != nil {
		log.Fatal(err)
	}
	defer clear(key.Plaintext)
	fmt.Println(len(key.Plaintext), "bytes, in the enclave only")

	next := attest.PCRFromDigest(sha512.Sum384([]byte("another image")))
	client.sign.Enclave.Policy.Measurements = []attest.Measurement{{Name: "v2", PCRs: attest.PCRs{0: next}}}
	_, err = envelope.SignGenerateDataKey(ctx, client.sign, answer, document)
	fmt.Println("for another enclave:", errors.Is(err, attest.ErrPolicy))
	// Output:
	// 32 bytes, in the enclave only
	// for another enclave: true
}

// Data of any size: the client seals it, and signs for the enclave to get the
// key of that one stream. KMS never sees the data.
func ExampleSignOpen() {
	ctx := context.Background()
	nsm, client, stop, err := simulateDelegation()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		log.Fatal(err)
	}
	courier, err := envelope.NewCourier(envelope.CourierOptions{
		HTTP: http.DefaultClient, Endpoint: client.sign.Endpoint, KeyID: client.sign.KeyID, Recipient: recipient,
	})
	if err != nil {
		log.Fatal(err)
	}
	document, err := recipient.Document(ctx)
	if err != nil {
		log.Fatal(err)
	}

	records := envelope.EncryptionContext{"direction": "request", "file": "records.csv"}
	outside, err := envelope.NewClient(envelope.Options{KMS: client.api, KeyID: client.sign.KeyID})
	if err != nil {
		log.Fatal(err)
	}
	sealed, err := outside.Seal(ctx, bytes.Repeat([]byte("a record\n"), 10_000), records, envelope.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := envelope.SignOpen(ctx, client.sign, sealed, records, document)
	if err != nil {
		log.Fatal(err)
	}
	data, err := courier.Open(ctx, signed, sealed, records)
	fmt.Println(len(data), "bytes,", err)
	clear(data)
	_, err = courier.Open(ctx, signed, sealed[:len(sealed)-1], records)
	fmt.Println("cut short:", errors.Is(err, envelope.ErrStream))
	// Output:
	// 90000 bytes, <nil>
	// cut short: true
}

// What a sealed file says of itself in clear tells an operator which KMS key
// and which encryption context it takes. Anyone may have written it: only
// opening the file shows that it is true.
func ExampleReadStreamHeader() {
	ctx := context.Background()
	_, client, stop, err := simulateDelegation()
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	outside, err := envelope.NewClient(envelope.Options{KMS: client.api, KeyID: client.sign.KeyID})
	if err != nil {
		log.Fatal(err)
	}
	sealed, err := outside.Seal(ctx, []byte("weights"), envelope.EncryptionContext{"direction": "request", "file": "model.gguf"}, envelope.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	header, err := envelope.ReadStreamHeader(bytes.NewReader(sealed))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(header.KeyID == client.sign.KeyID, header.Context["file"], header.SegmentSize)
	_, err = envelope.ReadStreamHeader(bytes.NewReader([]byte("GGUF, which is not sealed")))
	fmt.Println(errors.Is(err, envelope.ErrStream))
	// Output:
	// true model.gguf 1048576
	// true
}

// delegating is a client that signs requests for enclaves.
type delegating struct {
	api  *kms.Client
	sign envelope.SignOptions
}

// simulateDelegation is an enclave's security module, and a client with its
// KMS, all in this process.
func simulateDelegation() (nsm *attest.NSM, client delegating, stop func(), err error) {
	const user, admin = "arn:aws:iam::111122223333:role/client", "arn:aws:iam::111122223333:role/key-admin"
	enclave := []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}}}
	policy, err := keypolicy.Spec{
		Admins: []string{admin}, Clients: []string{user}, Delegated: true, AttestedResponses: true, Measurements: enclave,
	}.Policy()
	if err != nil {
		return nil, client, nil, err
	}
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return nil, client, nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: enclave[0].PCRs})
	if err != nil {
		return nil, client, nil, err
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		return nil, client, nil, err
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: user, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		return nil, client, nil, err
	}
	keyARN, err := srv.CreateKey(kmstest.KeyOptions{Policy: string(policy)})
	if err != nil {
		return nil, client, nil, err
	}
	if nsm, err = attest.OpenNSM(attest.NSMOptions{Device: device.Device()}); err != nil {
		return nil, client, nil, err
	}
	own := credentials.NewStaticCredentialsProvider("AKID", "secret", "")
	client.api = kms.New(kms.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: own})
	client.sign = envelope.SignOptions{
		Credentials: own, KeyID: keyARN, Endpoint: srv.URL(),
		Enclave: attest.Options{Roots: []*x509.Certificate{ca.Root()}, Policy: attest.Policy{Measurements: enclave}},
	}
	return nsm, client, func() { srv.Close(); nsm.Close() }, nil
}
