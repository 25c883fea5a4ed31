package kmstest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// open lets the user do everything, and the enclave what is attested.
func openPolicy(pcr0 attest.PCR) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:*","Resource":"*","Condition":{"StringEqualsIgnoreCase":{"kms:RecipientAttestation:ImageSha384":%q}}}]}`, user, enclave, pcr0)
}

func TestGenerateRandom(t *testing.T) {
	f := newFixture(t, nil)
	c := f.client(enclave, f.recipient(nsmtest.Options{}))
	a, err := c.GenerateRandom(t.Context(), 1024)
	if err != nil || len(a) != 1024 {
		t.Fatal(err)
	}
	if b, err := c.GenerateRandom(t.Context(), 1024); err != nil || bytes.Equal(a, b) {
		t.Error(err)
	}
	for n, want := range map[int]error{0: envelope.ErrEmpty, -1: envelope.ErrEmpty, 1025: envelope.ErrTooLarge} {
		if _, err := c.GenerateRandom(t.Context(), n); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := f.client(user, nil).GenerateRandom(t.Context(), 1); !errors.Is(err, envelope.ErrNoRecipient) {
		t.Error(err)
	}
}

func TestGenerateDataKeyPair(t *testing.T) {
	f := newFixture(t, nil)
	if err := f.srv.PutKeyPolicy(f.arn, openPolicy(image)); err != nil {
		t.Fatal(err)
	}
	c := f.client(enclave, f.recipient(nsmtest.Options{}))
	for _, spec := range []types.DataKeyPairSpec{types.DataKeyPairSpecRsa2048, types.DataKeyPairSpecEccNistP256, types.DataKeyPairSpecEccNistP384, types.DataKeyPairSpecEccNistP521} {
		p, err := c.GenerateDataKeyPair(t.Context(), spec, request)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		private, err := x509.ParsePKCS8PrivateKey(p.Private)
		if err != nil {
			t.Errorf("%s: %v", spec, err)
			continue
		}
		public, err := x509.MarshalPKIXPublicKey(private.(crypto.Signer).Public())
		if err != nil || !bytes.Equal(public, p.Public) {
			t.Errorf("%s: the halves do not belong together: %v", spec, err)
		}
		if again, err := c.Decrypt(t.Context(), p.Ciphertext, request); err != nil || !bytes.Equal(again, p.Private) {
			t.Errorf("%s: %v", spec, err)
		}
	}
	if _, err := c.GenerateDataKeyPair(t.Context(), "ECC_SECG_P256K1", request); code(err) != "UnsupportedOperationException" {
		t.Error(err)
	}
	if _, err := c.GenerateDataKeyPair(t.Context(), types.DataKeyPairSpecEccNistP256, nil); !errors.Is(err, envelope.ErrNoContext) {
		t.Error(err)
	}
	wrong := f.client(enclave, f.recipient(nsmtest.Options{PCRs: attest.PCRs{0: attest.PCR4("x")}}))
	if _, err := wrong.GenerateDataKeyPair(t.Context(), types.DataKeyPairSpecEccNistP256, request); !errors.Is(err, envelope.ErrDenied) {
		t.Error(err)
	}
}

func TestDeriveSharedSecret(t *testing.T) {
	f := newFixture(t, nil)
	admin := f.kms(user)
	for spec, curve := range map[types.KeySpec]ecdh.Curve{types.KeySpecEccNistP256: ecdh.P256(), types.KeySpecEccNistP384: ecdh.P384(), types.KeySpecEccNistP521: ecdh.P521()} {
		made, err := admin.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeKeyAgreement, Policy: aws.String(openPolicy(image))})
		if err != nil || made.KeyMetadata.KeyUsage != types.KeyUsageTypeKeyAgreement {
			t.Fatal(err)
		}
		arn := aws.ToString(made.KeyMetadata.Arn)
		c, err := envelope.NewClient(envelope.Options{KMS: f.kms(enclave), KeyID: arn, Recipient: f.recipient(nsmtest.Options{})})
		if err != nil {
			t.Fatal(err)
		}
		published, err := admin.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &arn})
		if err != nil {
			t.Fatal(err)
		}
		parsed, err := x509.ParsePKIXPublicKey(published.PublicKey)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := parsed.(*ecdsa.PublicKey).ECDH()
		if err != nil {
			t.Fatal(err)
		}
		mine, err := curve.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		want, err := mine.ECDH(theirs)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKIXPublicKey(mine.PublicKey())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := c.DeriveSharedSecret(t.Context(), der); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v", spec, err)
		}
		if _, err := c.DeriveSharedSecret(t.Context(), []byte("x")); code(err) != "ValidationException" {
			t.Errorf("%s, no key: %v", spec, err)
		}
		if _, err := c.Encrypt(t.Context(), []byte("x"), request); !errors.Is(err, envelope.ErrDenied) {
			t.Errorf("%s, Encrypt without attestation: %v", spec, err)
		}
		if _, err := admin.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")}); code(err) != "InvalidKeyUsageException" {
			t.Errorf("%s, Encrypt: %v", spec, err)
		}
		wrong, err := envelope.NewClient(envelope.Options{KMS: f.kms(enclave), KeyID: arn, Recipient: f.recipient(nsmtest.Options{PCRs: attest.PCRs{0: attest.PCR4("x")}})})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wrong.DeriveSharedSecret(t.Context(), der); !errors.Is(err, envelope.ErrDenied) {
			t.Errorf("%s, wrong PCR0: %v", spec, err)
		}
	}
	for _, bad := range []*kms.CreateKeyInput{{KeySpec: types.KeySpecEccNistP256}, {KeyUsage: types.KeyUsageTypeKeyAgreement}, {KeySpec: types.KeySpecRsa2048}} {
		if _, err := admin.CreateKey(t.Context(), bad); err == nil {
			t.Errorf("%s, %s: made", bad.KeySpec, bad.KeyUsage)
		}
	}
	if _, err := f.srv.CreateKey(kmstest.KeyOptions{Spec: "HMAC_256"}); err == nil {
		t.Error("an HMAC key was made")
	}
}
