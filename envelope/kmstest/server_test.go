package kmstest_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

var (
	image   = attest.PCRFromDigest(sha512.Sum384([]byte("image")))
	request = envelope.EncryptionContext{"direction": "request", "id": "1"}
)

const (
	user    = "arn:aws:iam::111122223333:role/user"
	enclave = "arn:aws:iam::111122223333:role/enclave"
)

// keyPolicy lets user encrypt and enclave decrypt by attestation.
func keyPolicy(pcr0 attest.PCR) string {
	return fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Sid": "u", "Effect": "Allow", "Principal": {"AWS": %q}, "Action": ["kms:Encrypt", "kms:*KeyPolicy", "kms:DescribeKey", "kms:CreateAlias"], "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": [%q]}, "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*", "Condition": {
			"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": %q},
			"StringEquals": {"kms:EncryptionContext:direction": "request"}}}]}`, user, enclave, strings.ToUpper(pcr0.String()))
}

// fixture is a server with a key and the two principals.
type fixture struct {
	t   *testing.T
	srv *kmstest.Server
	arn string
	ca  *nsmtest.CA
	log *bytes.Buffer
}

func newFixture(t *testing.T, edit func(*kmstest.Options)) *fixture {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	opts := kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}, Logger: slog.New(slog.NewTextHandler(log, nil))}
	if edit != nil {
		edit(&opts)
	}
	srv, err := kmstest.NewTLSServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	for _, arn := range []string{user, enclave} {
		if err := srv.AddPrincipal(kmstest.Principal{ARN: arn, AccessKeyID: "AK" + arn[len(arn)-4:], SecretAccessKey: "secret of " + arn, SessionToken: "token of " + arn}); err != nil {
			t.Fatal(err)
		}
	}
	arn, err := srv.CreateKey(kmstest.KeyOptions{Policy: keyPolicy(image), Alias: "alias/test"})
	if err != nil {
		t.Fatal(err)
	}
	return &fixture{t, srv, arn, ca, log}
}

// kms is the stock SDK client of a principal.
func (f *fixture) kms(arn string, edit ...func(*kms.Options)) *kms.Client {
	f.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.srv.CACertPEM())
	opts := kms.Options{
		Region: f.srv.Region(), BaseEndpoint: aws.String(f.srv.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AK"+arn[len(arn)-4:], "secret of "+arn, "token of "+arn),
		HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}},
	}
	return kms.New(opts, edit...)
}

func (f *fixture) recipient(opts nsmtest.Options) *envelope.Recipient {
	f.t.Helper()
	opts.CA = f.ca
	if opts.PCRs == nil {
		opts.PCRs = attest.PCRs{0: image}
	}
	device, err := nsmtest.New(opts)
	if err != nil {
		f.t.Fatal(err)
	}
	n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { n.Close() })
	r, err := envelope.NewRecipient(f.t.Context(), envelope.RecipientOptions{Attester: n})
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) client(arn string, r *envelope.Recipient) *envelope.Client {
	f.t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: f.kms(arn), KeyID: f.arn, Recipient: r})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *fixture) encrypt(plaintext string) []byte {
	f.t.Helper()
	b, err := f.client(user, nil).Encrypt(f.t.Context(), []byte(plaintext), request)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func TestAttestedDecrypt(t *testing.T) {
	f := newFixture(t, nil)
	for _, plaintext := range []string{"x", strings.Repeat("y", 16), strings.Repeat("z", 4096)} {
		got, err := f.client(enclave, f.recipient(nsmtest.Options{})).Decrypt(t.Context(), f.encrypt(plaintext), request)
		if err != nil || string(got) != plaintext {
			t.Fatalf("%d bytes: %v", len(plaintext), err)
		}
	}
}

func TestKeySizes(t *testing.T) {
	f := newFixture(t, nil)
	for _, bits := range []int{2048, 3072, 4096} {
		device, err := nsmtest.New(nsmtest.Options{CA: f.ca, PCRs: attest.PCRs{0: image}})
		if err != nil {
			t.Fatal(err)
		}
		n, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
		if err != nil {
			t.Fatal(err)
		}
		r, err := envelope.NewRecipient(t.Context(), envelope.RecipientOptions{Attester: n, KeyBits: bits})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := f.client(enclave, r).Decrypt(t.Context(), f.encrypt("size"), request); err != nil || string(got) != "size" {
			t.Errorf("RSA-%d: %v", bits, err)
		}
	}
}

func TestGenerateDataKey(t *testing.T) {
	f := newFixture(t, nil)
	c := f.client(enclave, f.recipient(nsmtest.Options{}))
	k, err := c.GenerateDataKey(t.Context(), request)
	if err != nil || len(k.Plaintext) != 32 {
		t.Fatal(err)
	}
	again, err := c.Decrypt(t.Context(), k.Ciphertext, request)
	if err != nil || !bytes.Equal(again, k.Plaintext) {
		t.Fatal(err)
	}
}

// Everything that must be refused, and how.
func TestRefusals(t *testing.T) {
	f := newFixture(t, nil)
	ctx, blob := t.Context(), f.encrypt("secret")
	good := f.recipient(nsmtest.Options{})
	otherCA, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	foreign := *f
	foreign.ca = otherCA
	denied := func(err error) bool {
		return errors.Is(err, envelope.ErrDenied) && code(err) == "AccessDeniedException"
	}
	is := func(want string) func(error) bool { return func(err error) bool { return code(err) == want } }
	changed := slices.Clone(blob)
	changed[len(changed)-1] ^= 1
	for _, tt := range []struct {
		name string
		do   func() error
		want func(error) bool
	}{
		{"wrong PCR0", func() error {
			_, err := f.client(enclave, f.recipient(nsmtest.Options{PCRs: attest.PCRs{0: attest.PCR4("x")}})).Decrypt(ctx, blob, request)
			return err
		}, denied},
		{"debug mode", func() error {
			_, err := f.client(enclave, f.recipient(nsmtest.Options{PCRs: attest.PCRs{}})).Decrypt(ctx, blob, request)
			return err
		}, denied},
		{"no attestation", func() error {
			_, err := f.client(enclave, good).DecryptUnattested(ctx, blob, request)
			return err
		}, denied},
		{"other principal", func() error {
			_, err := f.client(user, good).Decrypt(ctx, blob, request)
			return err
		}, denied},
		{"other direction", func() error {
			_, err := f.client(enclave, good).Decrypt(ctx, blob, envelope.EncryptionContext{"direction": "response", "id": "1"})
			return err
		}, denied},
		{"other context", func() error {
			_, err := f.client(enclave, good).Decrypt(ctx, blob, envelope.EncryptionContext{"direction": "request", "id": "2"})
			return err
		}, is("InvalidCiphertextException")},
		{"changed ciphertext", func() error {
			_, err := f.client(enclave, good).Decrypt(ctx, changed, request)
			return err
		}, is("InvalidCiphertextException")},
		{"garbage ciphertext", func() error {
			_, err := f.client(enclave, good).Decrypt(ctx, []byte("garbage"), request)
			return err
		}, is("InvalidCiphertextException")},
		{"foreign root", func() error {
			_, err := f.client(enclave, foreign.recipient(nsmtest.Options{})).Decrypt(ctx, blob, request)
			return err
		}, is("ValidationException")},
		{"no document", func() error {
			_, err := f.kms(enclave).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: request,
				Recipient: &types.RecipientInfo{AttestationDocument: []byte("x"), KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256}})
			return err
		}, is("ValidationException")},
		{"SHA-1", func() error {
			_, err := f.kms(enclave).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: request,
				Recipient: &types.RecipientInfo{AttestationDocument: []byte("x"), KeyEncryptionAlgorithm: "RSAES_OAEP_SHA_1"}})
			return err
		}, is("ValidationException")},
		{"unknown key", func() error {
			_, err := f.kms(user).Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/none"), Plaintext: []byte("x")})
			return err
		}, is("NotFoundException")},
		{"4,097 bytes", func() error {
			_, err := f.kms(user).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: make([]byte, 4097)})
			return err
		}, is("ValidationException")},
		{"4,097 bytes, client", func() error {
			_, err := f.client(user, nil).Encrypt(ctx, make([]byte, 4097), request)
			return err
		}, func(err error) bool { return errors.Is(err, envelope.ErrTooLarge) }},
		{"empty context", func() error {
			_, err := f.client(user, nil).Encrypt(ctx, []byte("x"), nil)
			return err
		}, func(err error) bool { return errors.Is(err, envelope.ErrNoContext) }},
		{"empty plaintext", func() error {
			_, err := f.client(user, nil).Encrypt(ctx, nil, request)
			return err
		}, func(err error) bool { return errors.Is(err, envelope.ErrEmpty) }},
		{"no recipient", func() error {
			_, err := f.client(enclave, nil).Decrypt(ctx, blob, request)
			return err
		}, func(err error) bool { return errors.Is(err, envelope.ErrNoRecipient) }},
		{"wrong secret", func() error {
			_, err := f.kms(user, func(o *kms.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider("AKuser", "wrong", "token of "+user)
			}).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x")})
			return err
		}, is("InvalidSignatureException")},
		{"wrong token", func() error {
			_, err := f.kms(user, func(o *kms.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider("AKuser", "secret of "+user, "wrong")
			}).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x")})
			return err
		}, is("InvalidSignatureException")},
		{"unknown principal", func() error {
			_, err := f.kms(user, func(o *kms.Options) {
				o.Credentials = credentials.NewStaticCredentialsProvider("AKnone", "x", "")
			}).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x")})
			return err
		}, is("UnrecognizedClientException")},
		{"other region", func() error {
			_, err := f.kms(user, func(o *kms.Options) { o.Region = "eu-west-1" }).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x")})
			return err
		}, is("InvalidSignatureException")},
		{"operation it does not know", func() error {
			_, err := f.kms(user).ListGrants(ctx, &kms.ListGrantsInput{KeyId: &f.arn})
			return err
		}, is("UnknownOperationException")},
		{"member it does not know", func() error {
			_, err := f.kms(user).CreateKey(ctx, &kms.CreateKeyInput{MultiRegion: aws.Bool(true)})
			return err
		}, is("SerializationException")},
		{"grant", func() error {
			_, err := f.kms(user).Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x"), GrantTokens: []string{"x"}})
			return err
		}, is("InvalidGrantTokenException")},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.do(); err == nil || !tt.want(err) {
				t.Errorf("got %v", err)
			}
		})
	}
	if got, err := f.client(enclave, good).Decrypt(ctx, blob, request); err != nil || string(got) != "secret" {
		t.Errorf("after all that: %v", err)
	}
	for _, canary := range []string{"secret of", "token of"} {
		if strings.Contains(f.log.String(), canary) {
			t.Errorf("the log holds %q", canary)
		}
	}
}

// The document must be young, and the signature as well.
func TestTime(t *testing.T) {
	now := time.Now()
	f := newFixture(t, func(o *kmstest.Options) { o.Clock = func() time.Time { return now } })
	blob := f.encrypt("x")
	r := f.recipient(nsmtest.Options{})
	now = now.Add(4 * time.Minute)
	if _, err := f.client(enclave, r).Decrypt(t.Context(), blob, request); err != nil {
		t.Error(err)
	}
	now = now.Add(70 * time.Second)
	if _, err := f.client(enclave, r).Decrypt(t.Context(), blob, request); code(err) != "InvalidSignatureException" {
		t.Errorf("a request signed five minutes ago: %v", err)
	}
	young := newFixture(t, func(o *kmstest.Options) { o.MaxAttestationAge = time.Nanosecond })
	if _, err := young.client(enclave, young.recipient(nsmtest.Options{})).Decrypt(t.Context(), young.encrypt("x"), request); code(err) != "ValidationException" {
		t.Errorf("an old document: %v", err)
	}
}

func TestExpiredCredentials(t *testing.T) {
	f := newFixture(t, nil)
	if err := f.srv.AddPrincipal(kmstest.Principal{ARN: user, AccessKeyID: "AKuser", SecretAccessKey: "secret of " + user, SessionToken: "token of " + user, Expires: time.Now().Add(-time.Second)}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client(user, nil).Encrypt(t.Context(), []byte("x"), request); code(err) != "ExpiredTokenException" {
		t.Error(err)
	}
}

// A request that was changed after it was signed.
func TestChangedRequest(t *testing.T) {
	f := newFixture(t, nil)
	for name, change := range map[string]func(*http.Request){
		"body":   func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{}`)); r.ContentLength = 2 },
		"target": func(r *http.Request) { r.Header.Set("X-Amz-Target", "TrentService.Decrypt") },
		"date": func(r *http.Request) {
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Second).UTC().Format("20060102T150405Z"))
		},
		"host":             func(r *http.Request) { r.Host = "kms.us-east-1.amazonaws.com" },
		"query":            func(r *http.Request) { r.URL.RawQuery = "x=1" },
		"token":            func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "another") },
		"no authorization": func(r *http.Request) { r.Header.Del("Authorization") },
	} {
		c := f.kms(user, func(o *kms.Options) {
			o.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				change(r)
				pool := x509.NewCertPool()
				pool.AppendCertsFromPEM(f.srv.CACertPEM())
				return (&http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}).RoundTrip(r)
			})}
		})
		_, err := c.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x")})
		if got := code(err); !slices.Contains([]string{"InvalidSignatureException", "MissingAuthenticationTokenException", "IncompleteSignatureException", "UnrecognizedClientException"}, got) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestAdministration(t *testing.T) {
	f := newFixture(t, nil)
	ctx, c := t.Context(), f.kms(user)
	d, err := c.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: aws.String("alias/test")})
	if err != nil || aws.ToString(d.KeyMetadata.Arn) != f.arn || !d.KeyMetadata.Enabled || time.Since(*d.KeyMetadata.CreationDate) > time.Hour {
		t.Fatalf("%+v, %v", d, err)
	}
	if _, err := c.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/two"), TargetKeyId: &f.arn}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{f.arn, *d.KeyMetadata.KeyId, "alias/two", strings.Replace(f.arn, "key/"+*d.KeyMetadata.KeyId, "alias/two", 1)} {
		if out, err := c.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String(name), Plaintext: []byte("x")}); err != nil || *out.KeyId != f.arn {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &f.arn, Policy: aws.String(`{"Version":"2012-10-17","Statement":[]}`)}); code(err) != "MalformedPolicyDocumentException" {
		t.Error(err)
	}
	blob := f.encrypt("x")
	other := attest.PCR4("other")
	if _, err := c.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &f.arn, Policy: aws.String(keyPolicy(other))}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client(enclave, f.recipient(nsmtest.Options{})).Decrypt(ctx, blob, request); !errors.Is(err, envelope.ErrDenied) {
		t.Errorf("under the new policy: %v", err)
	}
	p, err := c.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &f.arn})
	if err != nil || *p.Policy != keyPolicy(other) {
		t.Errorf("%v", err)
	}
	made, err := c.CreateKey(ctx, &kms.CreateKeyInput{Policy: aws.String(keyPolicy(image))})
	if err != nil || *made.KeyMetadata.Arn == f.arn {
		t.Fatal(err)
	}
	if _, err := f.kms(enclave).Decrypt(ctx, &kms.DecryptInput{KeyId: made.KeyMetadata.Arn, CiphertextBlob: blob}); code(err) != "IncorrectKeyException" {
		t.Error(err)
	}
	random, err := c.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(24)})
	if err != nil || len(random.Plaintext) != 24 {
		t.Error(err)
	}
}

// fakeKMS answers what a hostile or broken KMS could.
type fakeKMS struct {
	envelope.KMSAPI
	out *kms.DecryptOutput
}

func (f fakeKMS) Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	return f.out, nil
}

func TestClientRefusesAnswers(t *testing.T) {
	f := newFixture(t, nil)
	r := f.recipient(nsmtest.Options{})
	for name, tt := range map[string]struct {
		out  kms.DecryptOutput
		want error
	}{
		"plaintext": {kms.DecryptOutput{KeyId: &f.arn, Plaintext: []byte("x")}, envelope.ErrNotAttested},
		"both":      {kms.DecryptOutput{KeyId: &f.arn, Plaintext: []byte("x"), CiphertextForRecipient: []byte("y")}, envelope.ErrNotAttested},
		"neither":   {kms.DecryptOutput{KeyId: &f.arn}, envelope.ErrNotAttested},
		"other key": {kms.DecryptOutput{KeyId: aws.String(f.arn + "0"), CiphertextForRecipient: []byte("y")}, envelope.ErrKeyMismatch},
		"no key":    {kms.DecryptOutput{CiphertextForRecipient: []byte("y")}, envelope.ErrKeyMismatch},
		"garbage":   {kms.DecryptOutput{KeyId: &f.arn, CiphertextForRecipient: []byte("y")}, envelope.ErrOpen},
	} {
		c, err := envelope.NewClient(envelope.Options{KMS: fakeKMS{out: &tt.out}, KeyID: f.arn, Recipient: r})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.Decrypt(t.Context(), []byte("blob"), request); got != nil || !errors.Is(err, tt.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

func TestKeyARN(t *testing.T) {
	for _, bad := range []string{"", "alias/x", "1234abcd-12ab-34cd-56ef-1234567890ab", "arn:aws:kms:us-east-1:111122223333:alias/x", "arn:aws:s3:us-east-1:111122223333:key/x", "arn:aws:kms::111122223333:key/x", "arn:aws:kms:us-east-1:1:key/x"} {
		if _, err := envelope.NewClient(envelope.Options{KMS: fakeKMS{}, KeyID: bad}); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestBadRequests(t *testing.T) {
	srv, err := kmstest.NewServer(kmstest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	for name, body := range map[string]string{"no signature": "{}", "too large": strings.Repeat("x", 1<<20)} {
		resp, err := http.Post(srv.URL(), "application/x-amz-json-1.1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		var e map[string]string
		err = json.NewDecoder(resp.Body).Decode(&e)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 400 || e["__type"] == "" || resp.Header.Get("X-Amzn-Errortype") != e["__type"] {
			t.Errorf("%s: HTTP %d, %v, %v", name, resp.StatusCode, slices.Collect(maps.Values(e)), err)
		}
	}
}
