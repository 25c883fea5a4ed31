package envelope_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

var delegateContext = envelope.EncryptionContext{"direction": "request", "id": "7"}

// delegation is a client that signs and an enclave without credentials.
type delegation struct {
	t         *testing.T
	ca        *nsmtest.CA
	srv       *kmstest.Server
	now       time.Time // of the KMS and the signer
	sign      envelope.SignOptions
	recipient *envelope.Recipient
	courier   *envelope.Courier
	image     attest.PCR
	sent      http.RoundTripper
}

func newDelegation(t *testing.T) *delegation {
	t.Helper()
	const role = "arn:aws:iam::111122223333:role/user"
	d := &delegation{t: t, now: time.Now(), image: attest.PCRFromDigest(sha512.Sum384([]byte("image"))), sent: http.DefaultTransport}
	var err error
	if d.ca, err = nsmtest.NewCA(nsmtest.CAOptions{}); err != nil {
		t.Fatal(err)
	}
	d.srv, err = kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{d.ca.Root()}, Clock: func() time.Time { return d.now }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.srv.Close() })
	if err := d.srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKUSER", SecretAccessKey: "secret-canary", SessionToken: "token"}); err != nil {
		t.Fatal(err)
	}
	arn, err := d.srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:Encrypt","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":["kms:Decrypt","kms:GenerateDataKey"],"Resource":"*",
		 "Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:PCR0":%q}}}]}`, role, role, d.image)})
	if err != nil {
		t.Fatal(err)
	}
	d.sign = envelope.SignOptions{
		Credentials: credentials.NewStaticCredentialsProvider("AKUSER", "secret-canary", "token"), KeyID: arn, Endpoint: d.srv.URL(),
		Enclave: attest.Options{Roots: []*x509.Certificate{d.ca.Root()}, Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: attest.PCRs{0: d.image}}}}},
		Clock:   func() time.Time { return d.now },
	}
	d.recipient = d.enclave(d.image)
	d.courier, err = envelope.NewCourier(envelope.CourierOptions{HTTP: &http.Client{Transport: d}, Endpoint: d.srv.URL(), KeyID: arn, Recipient: d.recipient})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// RoundTrip lets a test stand between the courier and KMS.
func (d *delegation) RoundTrip(r *http.Request) (*http.Response, error) { return d.sent.RoundTrip(r) }

func (d *delegation) enclave(pcr0 attest.PCR) *envelope.Recipient {
	d.t.Helper()
	device, err := nsmtest.New(nsmtest.Options{CA: d.ca, PCRs: attest.PCRs{0: pcr0}})
	if err != nil {
		d.t.Fatal(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { n.Close() })
	r, err := envelope.NewRecipient(d.t.Context(), envelope.RecipientOptions{Attester: n})
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}

func (d *delegation) document(r *envelope.Recipient) []byte {
	d.t.Helper()
	doc, err := r.Document(d.t.Context())
	if err != nil {
		d.t.Fatal(err)
	}
	return doc
}

func (d *delegation) encrypt(plaintext string) []byte {
	d.t.Helper()
	api := kms.New(kms.Options{Region: d.srv.Region(), BaseEndpoint: aws.String(d.srv.URL()), Credentials: d.sign.Credentials})
	c, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: d.sign.KeyID})
	if err != nil {
		d.t.Fatal(err)
	}
	blob, err := c.Encrypt(d.t.Context(), []byte(plaintext), delegateContext)
	if err != nil {
		d.t.Fatal(err)
	}
	return blob
}

func (d *delegation) signed(plaintext string) *envelope.SignedRequest {
	d.t.Helper()
	req, err := envelope.SignDecrypt(d.t.Context(), d.sign, d.encrypt(plaintext), delegateContext, d.document(d.recipient))
	if err != nil {
		d.t.Fatal(err)
	}
	return req
}

func TestDelegatedDecrypt(t *testing.T) {
	d := newDelegation(t)
	req := d.signed("the question")
	// It travels through others, who learn no secret from it.
	wire, err := json.Marshal(req)
	if err != nil || bytes.Contains(wire, []byte("secret-canary")) || bytes.Contains(wire, []byte("the question")) || strings.Contains(fmt.Sprintf("%v %+v", req, *req), "token") {
		t.Fatalf("%v, %s", err, wire)
	}
	var received envelope.SignedRequest
	if err := json.Unmarshal(wire, &received); err != nil {
		t.Fatal(err)
	}
	got, err := d.courier.Decrypt(t.Context(), &received, delegateContext)
	if err != nil || string(got) != "the question" {
		t.Fatalf("%q, %v", got, err)
	}
	// Just inside the window, and just outside.
	d.now = d.now.Add(4*time.Minute + 50*time.Second)
	if _, err := d.courier.Decrypt(t.Context(), req, delegateContext); err != nil {
		t.Errorf("after 4:50: %v", err)
	}
	d.now = d.now.Add(15 * time.Second)
	if _, err := d.courier.Decrypt(t.Context(), req, delegateContext); kmsCode(err) != "InvalidSignatureException" {
		t.Errorf("after 5:05: %v", err)
	}
}

func TestDelegatedDataKey(t *testing.T) {
	d := newDelegation(t)
	req, err := envelope.SignGenerateDataKey(t.Context(), d.sign, delegateContext, d.document(d.recipient))
	if err != nil {
		t.Fatal(err)
	}
	k, err := d.courier.GenerateDataKey(t.Context(), req, delegateContext)
	if err != nil || len(k.Plaintext) != 32 {
		t.Fatal(err)
	}
	again, err := envelope.SignDecrypt(t.Context(), d.sign, k.Ciphertext, delegateContext, d.document(d.recipient))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.courier.Decrypt(t.Context(), again, delegateContext); err != nil || !bytes.Equal(got, k.Plaintext) {
		t.Error(err)
	}
	if _, err := d.courier.Decrypt(t.Context(), req, delegateContext); !errors.Is(err, envelope.ErrNotDelegated) {
		t.Errorf("a data key request sent as Decrypt: %v", err)
	}
}

func kmsCode(err error) string {
	var e interface{ ErrorCode() string }
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return ""
}

// clone copies a request, so that a test can change it.
func clone(r *envelope.SignedRequest) *envelope.SignedRequest {
	c := &envelope.SignedRequest{Host: r.Host, Header: map[string]string{}, Body: slices.Clone(r.Body)}
	for k, v := range r.Header {
		c.Header[k] = v
	}
	return c
}

// What the parent could change on the way: KMS refuses all of it. The changes
// are made behind the courier, which would not even send some of them.
func TestChangedInTransit(t *testing.T) {
	d := newDelegation(t)
	req := d.signed("the question")
	other := d.encrypt("another question")
	otherDoc := d.document(d.enclave(d.image))
	edit := func(change func(map[string]any)) func(*http.Request, *[]byte) {
		return func(_ *http.Request, body *[]byte) {
			var v map[string]any
			if err := json.Unmarshal(*body, &v); err != nil {
				t.Fatal(err)
			}
			change(v)
			*body, _ = json.Marshal(v)
		}
	}
	for name, change := range map[string]func(*http.Request, *[]byte){
		"another ciphertext": edit(func(v map[string]any) { v["CiphertextBlob"] = other }),
		"another context":    edit(func(v map[string]any) { v["EncryptionContext"] = map[string]string{"direction": "response"} }),
		"another recipient": edit(func(v map[string]any) {
			v["Recipient"] = map[string]any{"AttestationDocument": otherDoc, "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256"}
		}),
		"no recipient": edit(func(v map[string]any) { delete(v, "Recipient") }),
		"another date": func(r *http.Request, _ *[]byte) {
			r.Header.Set("X-Amz-Date", d.now.Add(time.Minute).UTC().Format("20060102T150405Z"))
		},
		"another target": func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Target", "TrentService.Encrypt") },
		"another token":  func(r *http.Request, _ *[]byte) { r.Header.Set("X-Amz-Security-Token", "x") },
		"another type":   func(r *http.Request, _ *[]byte) { r.Header.Set("Content-Type", "application/json") },
		"another host":   func(r *http.Request, _ *[]byte) { r.Host = "kms.us-east-1.amazonaws.com" },
	} {
		d.sent = roundTripper(func(r *http.Request) (*http.Response, error) {
			body := slices.Clone(req.Body)
			change(r, &body)
			r.Body, r.ContentLength = readCloser(body), int64(len(body))
			return http.DefaultTransport.RoundTrip(r)
		})
		got, err := d.courier.Decrypt(t.Context(), req, delegateContext)
		refused := kmsCode(err) == "InvalidSignatureException" || name == "another token" && kmsCode(err) == "UnrecognizedClientException"
		if got != nil || !refused {
			t.Errorf("%s: %v", name, err)
		}
	}
	d.sent = http.DefaultTransport
	if _, err := d.courier.Decrypt(t.Context(), req, delegateContext); err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func readCloser(b []byte) *body { return &body{bytes.NewReader(b)} }

type body struct{ *bytes.Reader }

func (*body) Close() error { return nil }

// What the courier refuses to send.
func TestCourierRefuses(t *testing.T) {
	d := newDelegation(t)
	d.sent = roundTripper(func(*http.Request) (*http.Response, error) {
		t.Error("it was sent")
		return nil, errors.New("no")
	})
	good := d.signed("x")
	with := func(change func(*envelope.SignedRequest)) *envelope.SignedRequest {
		r := clone(good)
		change(r)
		return r
	}
	replace := func(old, new string) *envelope.SignedRequest {
		return with(func(r *envelope.SignedRequest) {
			if !bytes.Contains(r.Body, []byte(old)) {
				t.Fatalf("no %s in the body", old)
			}
			r.Body = bytes.Replace(r.Body, []byte(old), []byte(new), 1)
		})
	}
	for name, req := range map[string]*envelope.SignedRequest{
		"nil":               nil,
		"another host":      with(func(r *envelope.SignedRequest) { r.Host = "attacker.example" }),
		"another target":    with(func(r *envelope.SignedRequest) { r.Header["X-Amz-Target"] = "TrentService.Encrypt" }),
		"two targets":       with(func(r *envelope.SignedRequest) { r.Header["x-amz-target"] = "TrentService.Decrypt" }),
		"a foreign header":  with(func(r *envelope.SignedRequest) { r.Header["X-Forwarded-For"] = "x" }),
		"a large header":    with(func(r *envelope.SignedRequest) { r.Header["Authorization"] = strings.Repeat("x", 20_000) }),
		"no JSON":           with(func(r *envelope.SignedRequest) { r.Body = []byte("x") }),
		"a large body":      with(func(r *envelope.SignedRequest) { r.Body = make([]byte, 100_000) }),
		"another key":       replace(`:key/`, `:key/0`),
		"no recipient":      replace(`"RSAES_OAEP_SHA_256"`, `"RSAES_OAEP_SHA_1"`),
		"another context":   replace(`"id":"7"`, `"id":"8"`),
		"a name twice":      replace(`"KeyId":`, `"KeyId":"x","KeyId":`),
		"an unknown member": replace(`"KeyId":`, `"GrantTokens":["x"],"KeyId":`),
		"white space":       replace(`{`, `{ `),
	} {
		if got, err := d.courier.Decrypt(t.Context(), req, delegateContext); got != nil || !errors.Is(err, envelope.ErrNotDelegated) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := d.courier.Decrypt(t.Context(), good, nil); !errors.Is(err, envelope.ErrNoContext) {
		t.Error(err)
	}
	if _, err := d.courier.Decrypt(t.Context(), good, envelope.EncryptionContext{"direction": "response", "id": "7"}); !errors.Is(err, envelope.ErrNotDelegated) {
		t.Error(err)
	}
	if _, err := d.courier.GenerateDataKey(t.Context(), good, delegateContext); !errors.Is(err, envelope.ErrNotDelegated) {
		t.Error(err)
	}
}

// The client decides which enclave reads its data.
func TestSignRefuses(t *testing.T) {
	d := newDelegation(t)
	blob, doc := d.encrypt("x"), d.document(d.recipient)
	sign := func(edit func(*envelope.SignOptions), blob, doc []byte, ec envelope.EncryptionContext) error {
		opts := d.sign
		if edit != nil {
			edit(&opts)
		}
		req, err := envelope.SignDecrypt(t.Context(), opts, blob, ec, doc)
		if (req == nil) == (err == nil) {
			t.Error("a request beside an error, or neither")
		}
		return err
	}
	for _, tt := range []struct {
		name string
		err  error
		want error // nil: any
	}{
		{"another image", sign(nil, blob, d.document(d.enclave(attest.PCR4("other"))), delegateContext), attest.ErrPolicy},
		{"debug mode", sign(nil, blob, d.document(d.enclave(attest.ZeroPCR())), delegateContext), attest.ErrPolicy},
		{"no policy", sign(func(o *envelope.SignOptions) { o.Enclave.Policy = attest.Policy{} }, blob, doc, delegateContext), attest.ErrPolicy},
		{"a simulated root by default", sign(func(o *envelope.SignOptions) { o.Enclave.Roots = nil }, blob, doc, delegateContext), attest.ErrUntrusted},
		{"no document", sign(nil, blob, nil, delegateContext), attest.ErrMalformed},
		{"no context", sign(nil, blob, doc, nil), envelope.ErrNoContext},
		{"no ciphertext", sign(nil, nil, doc, delegateContext), envelope.ErrEmpty},
		{"large ciphertext", sign(nil, make([]byte, 10_000), doc, delegateContext), envelope.ErrTooLarge},
		{"no credentials", sign(func(o *envelope.SignOptions) { o.Credentials = nil }, blob, doc, delegateContext), nil},
		{"an alias", sign(func(o *envelope.SignOptions) { o.KeyID = "alias/x" }, blob, doc, delegateContext), nil},
		{"a path", sign(func(o *envelope.SignOptions) { o.Endpoint = "https://host/path" }, blob, doc, delegateContext), nil},
	} {
		if tt.err == nil || tt.want != nil && !errors.Is(tt.err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, tt.err, tt.want)
		}
	}
}

// Answers that a hostile network or KMS could give.
func TestCourierAnswers(t *testing.T) {
	d := newDelegation(t)
	req := d.signed("x")
	for name, tt := range map[string]struct {
		status int
		header string
		body   string
		want   func(error) bool
	}{
		"plaintext":   {200, "", `{"KeyId":"` + d.sign.KeyID + `","Plaintext":"eA=="}`, func(err error) bool { return errors.Is(err, envelope.ErrNotAttested) }},
		"nothing":     {200, "", `{}`, func(err error) bool { return errors.Is(err, envelope.ErrNotAttested) }},
		"another key": {200, "", `{"KeyId":"x","CiphertextForRecipient":"eA=="}`, func(err error) bool { return errors.Is(err, envelope.ErrKeyMismatch) }},
		"garbage":     {200, "", `{"KeyId":"` + d.sign.KeyID + `","CiphertextForRecipient":"eA=="}`, func(err error) bool { return errors.Is(err, envelope.ErrOpen) }},
		"no JSON":     {200, "", `<html>`, func(err error) bool { return strings.Contains(err.Error(), "no JSON") }},
		"too large":   {200, "", strings.Repeat(" ", 70_000), func(err error) bool { return strings.Contains(err.Error(), "too large") }},
		"denied":      {400, "", `{"__type":"com.amazonaws.kms#AccessDeniedException","message":"no"}`, func(err error) bool { return errors.Is(err, envelope.ErrDenied) }},
		"header code": {400, "ThrottlingException:http://x", ``, func(err error) bool { return kmsCode(err) == "ThrottlingException" }},
		"no code":     {502, "", `bad gateway`, func(err error) bool { return strings.Contains(err.Error(), "HTTP 502") }},
		"redirect":    {307, "", ``, func(err error) bool { return strings.Contains(err.Error(), "HTTP 307") }},
	} {
		d.sent = roundTripper(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Location", "http://attacker.example/")
			if tt.header != "" {
				w.Header().Set("X-Amzn-Errortype", tt.header)
			}
			w.WriteHeader(tt.status)
			w.WriteString(tt.body)
			return w.Result(), nil
		})
		if got, err := d.courier.Decrypt(t.Context(), req, delegateContext); got != nil || err == nil || !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.sent = http.DefaultTransport
	if _, err := d.courier.Decrypt(ctx, req, delegateContext); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestCourierOptions(t *testing.T) {
	d := newDelegation(t)
	good := envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: "https://kms.us-east-1.amazonaws.com", KeyID: d.sign.KeyID, Recipient: d.recipient}
	if _, err := envelope.NewCourier(good); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*envelope.CourierOptions){
		"no client":    func(o *envelope.CourierOptions) { o.HTTP = nil },
		"no endpoint":  func(o *envelope.CourierOptions) { o.Endpoint = "" },
		"user":         func(o *envelope.CourierOptions) { o.Endpoint = "https://user@host" },
		"no key":       func(o *envelope.CourierOptions) { o.KeyID = "x" },
		"no recipient": func(o *envelope.CourierOptions) { o.Recipient = nil },
	} {
		opts := good
		edit(&opts)
		if _, err := envelope.NewCourier(opts); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
