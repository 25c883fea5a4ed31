package envelope_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"testing"

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

const role = "arn:aws:iam::111122223333:role/enclave"

var request = envelope.EncryptionContext{"direction": "request"}

// setup starts a local KMS with one key, and an enclave.
func setup(ctx context.Context) (api *kms.Client, keyARN string, r *envelope.Recipient, stop func(), err error) {
	fail := func(err error) (*kms.Client, string, *envelope.Recipient, func(), error) {
		return nil, "", nil, nil, err
	}
	image := attest.PCR(bytes.Repeat([]byte{1}, 48))
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return fail(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: image}})
	if err != nil {
		return fail(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return fail(err)
	}
	r, err = envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		return fail(err)
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		return fail(err)
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		return fail(err)
	}
	keyARN, err = srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Encrypt", "Resource": "*"},
		{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": ["kms:Decrypt", "kms:GenerateDataKey"], "Resource": "*",
		 "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "%[2]x"}}}]}`, role, []byte(image))})
	if err != nil {
		return fail(err)
	}
	api = kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	})
	return api, keyARN, r, func() { srv.Close(); nsm.Close() }, nil
}

// answers is a KMS that a test puts words into the mouth of.
type answers struct {
	envelope.KMSAPI // nil: what a test does not expect panics

	encrypt *kms.EncryptOutput
	decrypt *kms.DecryptOutput
	dataKey *kms.GenerateDataKeyOutput
	err     error

	context map[string]string // that of the last request
	attests bool              // whether it had a Recipient
}

func (a *answers) Encrypt(_ context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	a.context = in.EncryptionContext
	return a.encrypt, a.err
}

func (a *answers) Decrypt(_ context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	a.context, a.attests = in.EncryptionContext, in.Recipient != nil
	return a.decrypt, a.err
}

func (a *answers) GenerateDataKey(_ context.Context, in *kms.GenerateDataKeyInput, _ ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	a.context, a.attests = in.EncryptionContext, in.Recipient != nil
	return a.dataKey, a.err
}

func newClient(t *testing.T, opts envelope.Options) *envelope.Client {
	t.Helper()
	c, err := envelope.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClientWithKMS(t *testing.T) {
	api, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx := t.Context()
	inside := newClient(t, envelope.Options{KMS: api, KeyID: arn, Recipient: r})

	blob, err := inside.Encrypt(ctx, []byte("question"), request)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inside.Decrypt(ctx, blob, request); err != nil || string(got) != "question" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := inside.DecryptUnattested(ctx, blob, request); !errors.Is(err, envelope.ErrDenied) || got != nil {
		t.Errorf("without attestation: %q, %v", got, err)
	}
	key, err := inside.GenerateDataKey(ctx, request)
	if err != nil || len(key.Plaintext) != 32 {
		t.Fatal(err)
	}
	if got, err := inside.Decrypt(ctx, key.Ciphertext, request); err != nil || !bytes.Equal(got, key.Plaintext) {
		t.Errorf("the data key does not come back: %v", err)
	}

	// What KMS encrypted to this enclave, but not as a data key.
	_, err = newClient(t, envelope.Options{KMS: dataKeyFrom{api, blob}, KeyID: arn, Recipient: r}).GenerateDataKey(ctx, request)
	if !errors.Is(err, envelope.ErrOpen) {
		t.Errorf("a data key of 8 bytes: %v", err)
	}
	// The right answer with the plaintext in the open beside it.
	leaky := newClient(t, envelope.Options{KMS: decryptInTheOpen{api}, KeyID: arn, Recipient: r})
	if got, err := leaky.Decrypt(ctx, blob, request); !errors.Is(err, envelope.ErrNotAttested) || got != nil {
		t.Errorf("plaintext beside the right answer: %q, %v", got, err)
	}
	// An enclave of another root.
	_, _, other, stopOther, err := setup(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stopOther()
	_, err = newClient(t, envelope.Options{KMS: api, KeyID: arn, Recipient: other}).Decrypt(ctx, blob, request)
	var failed *envelope.KMSError
	if !errors.As(err, &failed) {
		t.Errorf("under a foreign root: %v", err)
	}
}

// dataKeyFrom answers GenerateDataKey with what Decrypt released.
type dataKeyFrom struct {
	*kms.Client
	blob []byte
}

func (d dataKeyFrom) GenerateDataKey(ctx context.Context, in *kms.GenerateDataKeyInput, _ ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	out, err := d.Decrypt(ctx, &kms.DecryptInput{KeyId: in.KeyId, CiphertextBlob: d.blob, EncryptionContext: in.EncryptionContext, Recipient: in.Recipient})
	if err != nil {
		return nil, err
	}
	return &kms.GenerateDataKeyOutput{KeyId: out.KeyId, CiphertextBlob: d.blob, CiphertextForRecipient: out.CiphertextForRecipient}, nil
}

// decryptInTheOpen adds a plaintext to KMS's answer.
type decryptInTheOpen struct{ *kms.Client }

func (d decryptInTheOpen) Decrypt(ctx context.Context, in *kms.DecryptInput, opts ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	out, err := d.Client.Decrypt(ctx, in, opts...)
	if err != nil {
		return nil, err
	}
	out.Plaintext = []byte("question")
	return out, nil
}

func TestClientRefusesAnswers(t *testing.T) {
	_, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx := t.Context()
	other := aws.String(strings.Replace(arn, "key/", "key/0", 1))
	secret := func() []byte { return []byte("a secret of 17 b.") }
	encrypt := func(c *envelope.Client) ([]byte, error) { return c.Encrypt(ctx, []byte("x"), request) }
	decrypt := func(c *envelope.Client) ([]byte, error) { return c.Decrypt(ctx, []byte("x"), request) }
	unattested := func(c *envelope.Client) ([]byte, error) { return c.DecryptUnattested(ctx, []byte("x"), request) }
	dataKey := func(c *envelope.Client) ([]byte, error) {
		k, err := c.GenerateDataKey(ctx, request)
		return append(k.Plaintext, k.Ciphertext...), err
	}
	plain, plainKey := secret(), secret()
	for name, tt := range map[string]struct {
		kms  answers
		call func(*envelope.Client) ([]byte, error)
		want error // nil: a *KMSError
	}{
		"Encrypt, another key":              {answers{encrypt: &kms.EncryptOutput{KeyId: other, CiphertextBlob: secret()}}, encrypt, envelope.ErrKeyMismatch},
		"Encrypt, nothing":                  {answers{encrypt: &kms.EncryptOutput{KeyId: &arn}}, encrypt, nil},
		"Decrypt, plaintext":                {answers{decrypt: &kms.DecryptOutput{KeyId: &arn, Plaintext: plain}}, decrypt, envelope.ErrNotAttested},
		"Decrypt, another key":              {answers{decrypt: &kms.DecryptOutput{KeyId: other, CiphertextForRecipient: secret()}}, decrypt, envelope.ErrKeyMismatch},
		"Decrypt, garbage":                  {answers{decrypt: &kms.DecryptOutput{KeyId: &arn, CiphertextForRecipient: secret()}}, decrypt, envelope.ErrOpen},
		"DecryptUnattested, another key":    {answers{decrypt: &kms.DecryptOutput{KeyId: other, Plaintext: plainKey}}, unattested, envelope.ErrKeyMismatch},
		"DecryptUnattested, no key":         {answers{decrypt: &kms.DecryptOutput{Plaintext: secret()}}, unattested, envelope.ErrKeyMismatch},
		"DecryptUnattested, nothing":        {answers{decrypt: &kms.DecryptOutput{KeyId: &arn}}, unattested, nil},
		"GenerateDataKey, plaintext":        {answers{dataKey: &kms.GenerateDataKeyOutput{KeyId: &arn, Plaintext: secret(), CiphertextBlob: secret()}}, dataKey, envelope.ErrNotAttested},
		"GenerateDataKey, another key":      {answers{dataKey: &kms.GenerateDataKeyOutput{KeyId: other, CiphertextForRecipient: secret()}}, dataKey, envelope.ErrKeyMismatch},
		"GenerateDataKey, garbage":          {answers{dataKey: &kms.GenerateDataKeyOutput{KeyId: &arn, CiphertextForRecipient: secret()}}, dataKey, envelope.ErrOpen},
		"Encrypt, the connection broke":     {answers{err: errors.New("broken pipe")}, encrypt, nil},
		"GenerateDataKey, a bad grant":      {answers{err: &types.InvalidGrantTokenException{}}, dataKey, nil},
		"DecryptUnattested, throttled":      {answers{err: &smithy.GenericAPIError{Code: "ThrottlingException"}}, unattested, nil},
		"Decrypt, ciphertext of elsewhere":  {answers{err: &types.InvalidCiphertextException{}}, decrypt, nil},
		"Decrypt, AccessDeniedException":    {answers{err: &smithy.GenericAPIError{Code: "AccessDeniedException"}}, decrypt, envelope.ErrDenied},
		"Decrypt, IncorrectKeyException":    {answers{err: &smithy.GenericAPIError{Code: "IncorrectKeyException"}}, decrypt, envelope.ErrKeyMismatch},
		"Encrypt, AccessDeniedException":    {answers{err: &smithy.GenericAPIError{Code: "AccessDeniedException"}}, encrypt, envelope.ErrDenied},
		"Decrypt, the caller's own timeout": {answers{err: context.DeadlineExceeded}, decrypt, context.DeadlineExceeded},
	} {
		got, err := tt.call(newClient(t, envelope.Options{KMS: &tt.kms, KeyID: arn, Recipient: r}))
		var failed *envelope.KMSError
		switch {
		case err == nil || len(got) != 0:
			t.Errorf("%s: %q, %v", name, got, err)
		case tt.want != nil && !errors.Is(err, tt.want):
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		case tt.want == nil && (!errors.As(err, &failed) || !strings.HasPrefix(name, failed.Op) || errors.Is(err, envelope.ErrDenied)):
			t.Errorf("%s: %v, want a KMSError", name, err)
		case tt.kms.err != nil && !errors.Is(err, tt.kms.err):
			t.Errorf("%s: the SDK's error is lost in %v", name, err)
		case strings.Contains(err.Error(), "a secret"):
			t.Errorf("%s: the error tells a secret: %v", name, err)
		}
	}
	if !bytes.Equal(plain, make([]byte, 17)) || !bytes.Equal(plainKey, make([]byte, 17)) {
		t.Error("refused plaintext was not cleared")
	}
}

func TestClientRefusesCalls(t *testing.T) {
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd"
	ctx := t.Context()
	fake := &answers{
		encrypt: &kms.EncryptOutput{KeyId: aws.String(arn), CiphertextBlob: []byte("blob")},
		decrypt: &kms.DecryptOutput{KeyId: aws.String(arn), Plaintext: []byte("plain")},
	}
	c := newClient(t, envelope.Options{KMS: fake, KeyID: arn})
	full, over := make([]byte, envelope.MaxPlaintext), make([]byte, envelope.MaxPlaintext+1)
	for name, tt := range map[string]struct {
		call func() ([]byte, error)
		want error
	}{
		"Encrypt, the most":           {func() ([]byte, error) { return c.Encrypt(ctx, full, request) }, nil},
		"Encrypt, too much":           {func() ([]byte, error) { return c.Encrypt(ctx, over, request) }, envelope.ErrTooLarge},
		"Encrypt, nothing":            {func() ([]byte, error) { return c.Encrypt(ctx, nil, request) }, envelope.ErrEmpty},
		"Encrypt, no context":         {func() ([]byte, error) { return c.Encrypt(ctx, full, nil) }, envelope.ErrNoContext},
		"Decrypt, no recipient":       {func() ([]byte, error) { return c.Decrypt(ctx, full, request) }, envelope.ErrNoRecipient},
		"Decrypt, no context":         {func() ([]byte, error) { return c.Decrypt(ctx, full, nil) }, envelope.ErrNoContext},
		"Decrypt, too much":           {func() ([]byte, error) { return c.Decrypt(ctx, make([]byte, 6145), request) }, envelope.ErrTooLarge},
		"DecryptUnattested":           {func() ([]byte, error) { return c.DecryptUnattested(ctx, make([]byte, 6144), request) }, nil},
		"DecryptUnattested, too much": {func() ([]byte, error) { return c.DecryptUnattested(ctx, make([]byte, 6145), request) }, envelope.ErrTooLarge},
		"DecryptUnattested, nothing":  {func() ([]byte, error) { return c.DecryptUnattested(ctx, nil, request) }, envelope.ErrEmpty},
		"DecryptUnattested, empty context": {func() ([]byte, error) {
			return c.DecryptUnattested(ctx, full, envelope.EncryptionContext{})
		}, envelope.ErrNoContext},
		"GenerateDataKey, no context": {func() ([]byte, error) {
			k, err := c.GenerateDataKey(ctx, nil)
			return k.Plaintext, err
		}, envelope.ErrNoContext},
		"GenerateDataKey, no recipient": {func() ([]byte, error) {
			k, err := c.GenerateDataKey(ctx, request)
			return k.Plaintext, err
		}, envelope.ErrNoRecipient},
	} {
		fake.context = nil
		got, err := tt.call()
		if !errors.Is(err, tt.want) || (err != nil) != (got == nil) {
			t.Errorf("%s: %q, %v, want %v", name, got, err, tt.want)
		}
		if asked := fake.context != nil; asked != (tt.want == nil) {
			t.Errorf("%s: whether KMS was asked: %v", name, asked)
		}
		if fake.attests {
			t.Errorf("%s: a Recipient out of nowhere", name)
		}
	}
	waived := newClient(t, envelope.Options{KMS: fake, KeyID: arn, AllowNoContext: true})
	if _, err := waived.Encrypt(ctx, full, nil); err != nil {
		t.Error(err)
	}
	if _, err := envelope.NewClient(envelope.Options{KeyID: arn}); err == nil {
		t.Error("a Client without KMS")
	}
}
