package session_test

import (
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
	"github.com/nitroseal/nitroseal/envelope/session"
)

// Data under a KMS key: the client seals it for one request to the enclave that
// it has verified, whose document is Established.Raw. Here the document comes
// from the enclave's Recipient at once, and id stands for the RequestID that a
// PayloadFunc gets.
func ExampleSealData() {
	ctx := context.Background()
	api, sign, recipient, stop, err := simulatedKMS(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	document, err := recipient.Document(ctx)
	if err != nil {
		log.Fatal(err)
	}
	id := session.RequestID{1}
	ec := envelope.EncryptionContext{"direction": "request", "id": id.String()}

	// The client, in its PayloadFunc.
	client, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: sign.KeyID})
	if err != nil {
		log.Fatal(err)
	}
	data, err := session.SealData(ctx, client, sign, ec, []byte("what is my deductible?"), document)
	if err != nil {
		log.Fatal(err)
	}
	payload, err := data.Encode()
	if err != nil {
		log.Fatal(err)
	}

	// The enclave, with the payload of a Request and the context that it
	// expects for the request's id. No other form of data is opened.
	courier, err := envelope.NewCourier(envelope.CourierOptions{
		HTTP: http.DefaultClient, Endpoint: sign.Endpoint, KeyID: sign.KeyID, Recipient: recipient,
	})
	if err != nil {
		log.Fatal(err)
	}
	opener := session.DataOpener{Courier: courier}
	got, err := session.DecodeData(payload)
	if err != nil {
		log.Fatal(err)
	}
	question, err := opener.Open(ctx, got, ec)
	if err != nil {
		log.Fatal(err)
	}
	defer clear(question)
	fmt.Printf("%s\n", question)
	_, err = opener.Open(ctx, session.Data{Plain: []byte("without KMS")}, ec)
	fmt.Println("without KMS:", errors.Is(err, session.ErrData))
	// Output:
	// what is my deductible?
	// without KMS: true
}

// simulatedKMS is a KMS with the key of a client who signs requests, and the
// Recipient of an enclave that the client trusts.
func simulatedKMS(ctx context.Context) (api *kms.Client, sign envelope.SignOptions, recipient *envelope.Recipient, stop func(), err error) {
	const user, admin = "arn:aws:iam::111122223333:role/client", "arn:aws:iam::111122223333:role/key-admin"
	enclave := []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: attest.PCRFromDigest(sha512.Sum384([]byte("image")))}}}
	fail := func(err error) (*kms.Client, envelope.SignOptions, *envelope.Recipient, func(), error) {
		return nil, envelope.SignOptions{}, nil, nil, err
	}
	policy, err := keypolicy.Spec{
		Admins: []string{admin}, Clients: []string{user}, Delegated: true, SealedResponses: true, Measurements: enclave,
	}.Policy()
	if err != nil {
		return fail(err)
	}
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return fail(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: enclave[0].PCRs})
	if err != nil {
		return fail(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return fail(err)
	}
	recipient, err = envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		return fail(err)
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		return fail(err)
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: user, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		return fail(err)
	}
	key, err := srv.CreateKey(kmstest.KeyOptions{Policy: string(policy)})
	if err != nil {
		return fail(err)
	}
	own := credentials.NewStaticCredentialsProvider("AKID", "secret", "")
	return kms.New(kms.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: own}),
		envelope.SignOptions{
			Credentials: own, KeyID: key, Endpoint: srv.URL(),
			Enclave: attest.Options{Roots: []*x509.Certificate{ca.Root()}, Policy: attest.Policy{Measurements: enclave}},
		}, recipient, func() { srv.Close(); nsm.Close() }, nil
}
