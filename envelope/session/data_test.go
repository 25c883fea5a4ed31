package session_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// kmsWorld is a world with a KMS whose key the enclave may use, and an enclave
// that attests a recipient.
type kmsWorld struct {
	*world
	api       *kms.Client
	sign      envelope.SignOptions
	recipient *envelope.Recipient
	opener    session.DataOpener
}

func newKMSWorld(t *testing.T) *kmsWorld {
	t.Helper()
	const role = "arn:aws:iam::111122223333:role/user"
	w := &kmsWorld{world: newWorld(t, nil)}
	w.recipient = w.newRecipient(nsmtest.Options{})
	w.enclave = w.newEnclave(nsmtest.Options{}, func(o *session.EnclaveOptions) { o.Attester, o.Recipient = nil, w.recipient })
	w.direct.enclave = w.enclave
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{w.ca.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKUSER", SecretAccessKey: "secret", SessionToken: "token"}); err != nil {
		t.Fatal(err)
	}
	arn, err := srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:Encrypt","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:Decrypt","Resource":"*",
		 "Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":%q}}}]}`, role, role, w.pcrs[0])})
	if err != nil {
		t.Fatal(err)
	}
	user := credentials.NewStaticCredentialsProvider("AKUSER", "secret", "token")
	w.api = kms.New(kms.Options{Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: user})
	w.sign = envelope.SignOptions{Credentials: user, KeyID: arn, Endpoint: srv.URL(), Enclave: w.trust()}
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: srv.URL(), KeyID: arn, Recipient: w.recipient})
	if err != nil {
		t.Fatal(err)
	}
	w.opener = session.DataOpener{Courier: courier}
	return w
}

func (w *kmsWorld) newRecipient(module nsmtest.Options) *envelope.Recipient {
	w.t.Helper()
	r, err := envelope.NewRecipient(w.t.Context(), envelope.RecipientOptions{Attester: w.newNSM(module)})
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func (w *kmsWorld) kms() *envelope.Client {
	w.t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: w.api, KeyID: w.sign.KeyID})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func contextOf(id session.RequestID) envelope.EncryptionContext {
	return envelope.EncryptionContext{"direction": "request", "request": id.String()}
}

// opening answers with what the data is.
func (w *kmsWorld) opening(o session.DataOpener) func(*session.Request, *session.Response) error {
	return func(req *session.Request, resp *session.Response) error {
		d, err := session.DecodeData(req.Payload)
		if err != nil {
			return err
		}
		plaintext, err := o.Open(context.Background(), d, contextOf(req.ID))
		if err != nil {
			return err
		}
		return resp.Finish(plaintext)
	}
}

// signed is a payload that SealData makes.
func (w *kmsWorld) signed(question string, edit func(*session.Data)) session.PayloadFunc {
	return func(ctx context.Context, e *session.Established, id session.RequestID) ([]byte, error) {
		d, err := session.SealData(ctx, w.kms(), w.sign, contextOf(id), []byte(question), e.Raw)
		if err != nil {
			return nil, err
		}
		if edit != nil {
			edit(&d)
		}
		return d.Encode()
	}
}

func (w *kmsWorld) ask(p session.PayloadFunc) (string, error) {
	w.t.Helper()
	var all []byte
	for message, err := range w.client(w.t, nil).Ask(w.t.Context(), p) {
		if err != nil {
			return string(all), err
		}
		all = append(all, message...)
	}
	return string(all), nil
}

func TestDelegatedData(t *testing.T) {
	w := newKMSWorld(t)
	w.handler = w.opening(w.opener)
	long := strings.Repeat("what is my deductible? ", 10000)
	for _, question := range []string{"what is my deductible?", long} {
		if got, err := w.ask(w.signed(question, nil)); err != nil || got != question {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

func TestDataRefused(t *testing.T) {
	w := newKMSWorld(t)
	var one session.Data
	w.handler = w.opening(w.opener)
	if got, err := w.ask(w.signed("one", func(d *session.Data) { one = *d })); err != nil || got != "one" {
		t.Fatal(got, err)
	}
	elsewhere := w.opener
	var err error
	if elsewhere.Courier, err = envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: w.sign.Endpoint, KeyID: w.sign.KeyID, Recipient: w.newRecipient(nsmtest.Options{})}); err != nil {
		t.Fatal(err)
	}
	plain := func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		return session.Data{Plain: []byte("plain")}.Encode()
	}
	for _, test := range []struct {
		name    string
		opener  session.DataOpener
		payload session.PayloadFunc
		want    error
	}{
		{"data of another request", w.opener, w.signed("two", func(d *session.Data) { *d = one }), envelope.ErrContextMismatch},
		{"another request's signature", w.opener, w.signed("two", func(d *session.Data) { d.Signed = one.Signed }), envelope.ErrNotDelegated},
		{"another request's stream", w.opener, w.signed("two", func(d *session.Data) { d.Sealed = one.Sealed }), envelope.ErrContextMismatch},
		{"signed for another enclave", elsewhere, w.signed("two", nil), envelope.ErrOpen},
		{"a changed stream", w.opener, w.signed("two", func(d *session.Data) { d.Sealed[len(d.Sealed)-1] ^= 1 }), envelope.ErrStream},
		{"a stream cut short", w.opener, w.signed("two", func(d *session.Data) { d.Sealed = d.Sealed[:len(d.Sealed)-1] }), envelope.ErrStream},
		{"signed, with nobody to send it", session.DataOpener{AllowPlain: true}, w.signed("two", nil), session.ErrData},
		{"plain, by default", w.opener, plain, session.ErrData},
		{"not of the form", w.opener, payload("what?"), session.ErrData},
	} {
		w.handler = w.opening(test.opener)
		if got, err := w.ask(test.payload); got != "" || !errors.Is(err, test.want) {
			t.Errorf("%s: %q, %v; want %v", test.name, got, err, test.want)
		}
	}
	w.handler = w.opening(session.DataOpener{AllowPlain: true})
	if got, err := w.ask(plain); err != nil || got != "plain" {
		t.Errorf("plain, as allowed: %q, %v", got, err)
	}
	// The key policy refuses an enclave of another image, though a client that
	// believes anything signs for it.
	w.sign.Enclave.Policy = attest.Policy{AnyMeasurement: true}
	other := w.newRecipient(nsmtest.Options{PCRs: testPCRs(2)})
	document, err := other.Document(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if elsewhere.Courier, err = envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: w.sign.Endpoint, KeyID: w.sign.KeyID, Recipient: other}); err != nil {
		t.Fatal(err)
	}
	w.handler = w.opening(elsewhere)
	if _, err := w.ask(func(ctx context.Context, _ *session.Established, id session.RequestID) ([]byte, error) {
		d, err := session.SealData(ctx, w.kms(), w.sign, contextOf(id), []byte("two"), document)
		if err != nil {
			return nil, err
		}
		return d.Encode()
	}); !errors.Is(err, envelope.ErrDenied) {
		t.Errorf("another image: %v", err)
	}
	// And a client that does not believe it does not sign.
	w.sign.Enclave = w.trust()
	if _, err := session.SealData(t.Context(), w.kms(), w.sign, contextOf(session.RequestID{}), []byte("two"), document); !errors.Is(err, attest.ErrPolicy) {
		t.Error(err)
	}
	w.sign.KeyID = strings.Replace(w.sign.KeyID, "key/", "key/0", 1)
	if _, err := session.SealData(t.Context(), newKMSWorld(t).kms(), w.sign, contextOf(session.RequestID{}), []byte("two"), document); !errors.Is(err, envelope.ErrKeyMismatch) {
		t.Error(err)
	}
}

func TestDataWithCredentials(t *testing.T) {
	w := newKMSWorld(t)
	withCredentials := func(ctx context.Context, _ *session.Established, id session.RequestID) ([]byte, error) {
		sealed, err := w.kms().Seal(ctx, []byte("question"), contextOf(id), envelope.StreamOptions{})
		if err != nil {
			return nil, err
		}
		return session.Data{Sealed: sealed, Credentials: &session.Credentials{AccessKeyID: "AKUSER", SecretAccessKey: "secret", SessionToken: "token"}}.Encode()
	}
	w.handler = w.opening(w.opener)
	if _, err := w.ask(withCredentials); !errors.Is(err, session.ErrData) {
		t.Errorf("by default: %v", err)
	}
	w.opener.WithCredentials = func(c session.Credentials) (*envelope.Client, error) {
		api := kms.New(w.api.Options(), func(o *kms.Options) {
			o.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken)
		})
		return envelope.NewClient(envelope.Options{KMS: api, KeyID: w.sign.KeyID, Recipient: w.recipient})
	}
	w.handler = w.opening(w.opener)
	if got, err := w.ask(withCredentials); err != nil || got != "question" {
		t.Errorf("%q, %v", got, err)
	}
	w.opener.WithCredentials = func(session.Credentials) (*envelope.Client, error) { return nil, nil }
	w.handler = w.opening(w.opener)
	if _, err := w.ask(withCredentials); err == nil {
		t.Error("without a client")
	}
}

func TestDataForms(t *testing.T) {
	signed, c := &envelope.SignedRequest{Host: "h"}, &session.Credentials{}
	for name, d := range map[string]session.Data{
		"nothing":                    {},
		"plain and sealed":           {Plain: []byte("p"), Sealed: []byte("s"), Signed: signed},
		"plain and signed":           {Plain: []byte("p"), Signed: signed},
		"plain and credentials":      {Plain: []byte("p"), Credentials: c},
		"sealed only":                {Sealed: []byte("s")},
		"sealed with two ways":       {Sealed: []byte("s"), Signed: signed, Credentials: c},
		"a signature without a body": {Signed: signed},
	} {
		if raw, err := d.Encode(); !errors.Is(err, session.ErrData) || raw != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := (session.DataOpener{AllowPlain: true}).Open(t.Context(), d, nil); !errors.Is(err, session.ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := session.DecodeData(make([]byte, session.MaxPayload+1)); !errors.Is(err, session.ErrData) {
		t.Error(err)
	}
}
