package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
)

// seal seals a stream as the user, who may not open it.
func (d *delegation) seal(plaintext []byte) []byte {
	d.t.Helper()
	api := kms.New(kms.Options{Region: d.srv.Region(), BaseEndpoint: aws.String(d.srv.URL()), Credentials: d.sign.Credentials})
	c, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: d.sign.KeyID})
	if err != nil {
		d.t.Fatal(err)
	}
	sealed, err := c.Seal(d.t.Context(), plaintext, delegateContext, envelope.StreamOptions{SegmentSize: 4096})
	if err != nil {
		d.t.Fatal(err)
	}
	return sealed
}

func (d *delegation) signOpen(sealed []byte) *envelope.SignedRequest {
	d.t.Helper()
	req, err := envelope.SignOpen(d.t.Context(), d.sign, sealed, delegateContext, d.document(d.recipient))
	if err != nil {
		d.t.Fatal(err)
	}
	return req
}

func TestDelegatedStream(t *testing.T) {
	d := newDelegation(t)
	for _, size := range []int{0, 1, 4096, 100_000} {
		plaintext := bytes.Repeat([]byte("x"), size)
		sealed := d.seal(plaintext)
		got, err := d.courier.Open(t.Context(), d.signOpen(sealed), sealed, delegateContext)
		if err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d bytes: %d, %v", size, len(got), err)
		}
	}
}

func TestDelegatedStreamRefused(t *testing.T) {
	d := newDelegation(t)
	sealed, other := d.seal(bytes.Repeat([]byte("x"), 10_000)), d.seal([]byte("other"))
	req := d.signOpen(sealed)
	changed := func(i int) []byte {
		b := slices.Clone(sealed)
		b[(i+len(b))%len(b)] ^= 1
		return b
	}
	elsewhere := envelope.EncryptionContext{"direction": "request", "id": "8"}
	decrypt := d.signed("a small secret, no data key")
	for _, test := range []struct {
		name   string
		req    *envelope.SignedRequest
		sealed []byte
		ec     envelope.EncryptionContext
		want   error
	}{
		{"another context", req, sealed, elsewhere, envelope.ErrContextMismatch},
		{"another stream", req, other, delegateContext, envelope.ErrNotDelegated},
		{"another ciphertext's request", decrypt, sealed, delegateContext, envelope.ErrNotDelegated},
		{"no request", nil, sealed, delegateContext, envelope.ErrNotDelegated},
		{"no stream", req, nil, delegateContext, envelope.ErrStream},
		{"a changed header", req, changed(12), delegateContext, envelope.ErrStream},
		{"a changed body", req, changed(-1), delegateContext, envelope.ErrStream},
		{"a changed segment, not the last", req, changed(-9000), delegateContext, envelope.ErrStream},
		{"cut short", req, sealed[:len(sealed)-1], delegateContext, envelope.ErrStream},
	} {
		if got, err := d.courier.Open(t.Context(), test.req, test.sealed, test.ec); got != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %d bytes, %v; want %v", test.name, len(got), err, test.want)
		}
	}
	// Nothing is sent for what cannot be opened anyway.
	sent := false
	d.sent = roundTripper(func(r *http.Request) (*http.Response, error) { sent = true; return http.DefaultTransport.RoundTrip(r) })
	d.courier.Open(t.Context(), req, other, delegateContext)
	d.courier.Open(t.Context(), req, sealed, elsewhere)
	if sent {
		t.Error("KMS was asked")
	}
	// Another enclave of the same image cannot read the answer.
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: d.srv.URL(), KeyID: d.sign.KeyID, Recipient: d.enclave(d.image)})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := courier.Open(t.Context(), req, sealed, delegateContext); got != nil || !errors.Is(err, envelope.ErrOpen) {
		t.Errorf("another enclave: %d bytes, %v", len(got), err)
	}
}

func TestSignOpenRefuses(t *testing.T) {
	d := newDelegation(t)
	sealed, document := d.seal([]byte("x")), d.document(d.recipient)
	otherKey := d.sign
	otherKey.KeyID = strings.Replace(d.sign.KeyID, "key/", "key/0", 1)
	nobody := d.sign
	nobody.Enclave.Policy = attest.Policy{}
	for _, test := range []struct {
		name   string
		opts   envelope.SignOptions
		sealed []byte
		ec     envelope.EncryptionContext
		want   error
	}{
		{"no stream", d.sign, []byte("nsealed"), delegateContext, envelope.ErrStream},
		{"another key", otherKey, sealed, delegateContext, envelope.ErrKeyMismatch},
		{"another context", d.sign, sealed, envelope.EncryptionContext{"id": "7"}, envelope.ErrContextMismatch},
		{"no enclave is trusted", nobody, sealed, delegateContext, attest.ErrPolicy},
	} {
		if req, err := envelope.SignOpen(t.Context(), test.opts, test.sealed, test.ec, document); req != nil || !errors.Is(err, test.want) {
			t.Errorf("%s: %v, %v", test.name, req, err)
		}
	}
}

func TestRecipientAttest(t *testing.T) {
	d := newDelegation(t)
	nonce, data := []byte("nonce"), []byte("data")
	raw, err := d.recipient.Attest(t.Context(), nonce, data)
	if err != nil {
		t.Fatal(err)
	}
	opts := d.sign.Enclave
	opts.Policy.Nonce, opts.Policy.UserData = nonce, data
	doc, err := attest.Verify(raw, opts)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := attest.Verify(d.document(d.recipient), d.sign.Enclave)
	if err != nil || !bytes.Equal(plain.PublicKey, doc.PublicKey) || len(doc.PublicKey) == 0 {
		t.Errorf("another key than Document's, %v", err)
	}
	// What is signed for the one document is opened.
	req, err := envelope.SignDecrypt(t.Context(), d.sign, d.encrypt("question"), delegateContext, raw)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.courier.Decrypt(t.Context(), req, delegateContext); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := d.recipient.Attest(t.Context(), make([]byte, 513), nil); !errors.Is(err, attest.CodeInputTooLarge) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if raw, err := d.recipient.Attest(ctx, nonce, data); raw != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
