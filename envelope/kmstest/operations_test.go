package kmstest_test

import (
	"bytes"
	"context"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// operations that name a key, each with good input.
var operations = map[string]func(ctx context.Context, api *kms.Client, key *string) error{
	"CreateAlias": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.CreateAlias(ctx, &kms.CreateAliasInput{TargetKeyId: key, AliasName: aws.String("alias/x")})
		return err
	},
	"DeriveSharedSecret": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: key, KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh, PublicKey: []byte("x")})
		return err
	},
	"DescribeKey": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: key})
		return err
	},
	"Encrypt": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x")})
		return err
	},
	"GenerateDataKey": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256})
		return err
	},
	"GenerateDataKeyPair": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{KeyId: key, KeyPairSpec: types.DataKeyPairSpecEccNistP256})
		return err
	},
	"GenerateDataKeyPairWithoutPlaintext": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: key, KeyPairSpec: types.DataKeyPairSpecEccNistP256})
		return err
	},
	"GenerateDataKeyWithoutPlaintext": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: key, KeySpec: types.DataKeySpecAes256})
		return err
	},
	"GetKeyPolicy": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: key})
		return err
	},
	"GetPublicKey": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key})
		return err
	},
	"PutKeyPolicy": func(ctx context.Context, api *kms.Client, key *string) error {
		_, err := api.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: key, Policy: aws.String(allow(user, "kms:*"))})
		return err
	},
}

// TestOperationsRefuse: no operation looks further than it may.
func TestOperationsRefuse(t *testing.T) {
	f := newFixture(t, nil)
	shut := f.key(allow(enclave, "kms:*"))
	curve, err := f.srv.CreateKey(kmstest.KeyOptions{Policy: allow(user, "kms:*"), Spec: "ECC_NIST_P256"})
	if err != nil {
		t.Fatal(err)
	}
	symmetric := f.key(allow(user, "kms:*"))
	wrongKind := map[string][2]string{ // the key, the code
		"DeriveSharedSecret":                  {symmetric, "InvalidKeyUsageException"},
		"Encrypt":                             {curve, "InvalidKeyUsageException"},
		"GenerateDataKey":                     {curve, "InvalidKeyUsageException"},
		"GenerateDataKeyPair":                 {curve, "InvalidKeyUsageException"},
		"GenerateDataKeyPairWithoutPlaintext": {curve, "InvalidKeyUsageException"},
		"GenerateDataKeyWithoutPlaintext":     {curve, "InvalidKeyUsageException"},
		"GetPublicKey":                        {symmetric, "UnsupportedOperationException"},
	}
	api := f.kms(user)
	for name, do := range operations {
		if err := do(t.Context(), api, aws.String("00000000-0000-4000-8000-000000000000")); code(err) != "NotFoundException" {
			t.Errorf("%s of no key: %v", name, err)
		}
		if err := do(t.Context(), api, &shut); code(err) != "AccessDeniedException" {
			t.Errorf("%s of a key of others: %v", name, err)
		}
		if wrong, ok := wrongKind[name]; ok {
			if err := do(t.Context(), api, &wrong[0]); code(err) != wrong[1] {
				t.Errorf("%s of a key of the wrong kind: %v", name, err)
			}
			continue
		}
		if err := do(t.Context(), api, &symmetric); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLimits(t *testing.T) {
	f := newFixture(t, nil)
	key, ctx, api := f.key(allow(user, "kms:*")), t.Context(), f.kms(user)
	encrypt := func(n int) func() error {
		return func() error {
			_, err := api.Encrypt(ctx, &kms.EncryptInput{KeyId: &key, Plaintext: bytes.Repeat([]byte{1}, n)})
			return err
		}
	}
	decrypt := func(n int) func() error {
		return func() error {
			_, err := api.Decrypt(ctx, &kms.DecryptInput{KeyId: &key, CiphertextBlob: bytes.Repeat([]byte{1}, n)})
			return err
		}
	}
	dataKey := func(n int32) func() error {
		return func() error {
			_, err := api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, NumberOfBytes: &n})
			return err
		}
	}
	random := func(n int32) func() error {
		return func() error {
			_, err := api.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: &n})
			return err
		}
	}
	for name, test := range map[string]struct {
		do   func() error
		want string
	}{
		"Encrypt 0":                  {encrypt(0), "ValidationException"},
		"Encrypt 1":                  {encrypt(1), ""},
		"Encrypt 4096":               {encrypt(4096), ""},
		"Encrypt 4097":               {encrypt(4097), "ValidationException"},
		"Decrypt 0":                  {decrypt(0), "ValidationException"},
		"Decrypt 6144":               {decrypt(6144), "InvalidCiphertextException"},
		"Decrypt 6145":               {decrypt(6145), "ValidationException"},
		"GenerateDataKey -1":         {dataKey(-1), "ValidationException"},
		"GenerateDataKey 1":          {dataKey(1), ""},
		"GenerateDataKey 1024":       {dataKey(1024), ""},
		"GenerateDataKey 1025":       {dataKey(1025), "ValidationException"},
		"GenerateRandom 0":           {random(0), "ValidationException"},
		"GenerateRandom 1024":        {random(1024), ""},
		"GenerateRandom 1025":        {random(1025), "ValidationException"},
		"GenerateDataKey of no size": {func() error { _, err := api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key}); return err }, "ValidationException"},
		"GenerateDataKey of two": {func() error {
			_, err := api.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: &key, KeySpec: types.DataKeySpecAes128, NumberOfBytes: aws.Int32(16)})
			return err
		}, "ValidationException"},
		"policy of another name": {func() error {
			_, err := api.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &key, PolicyName: aws.String("x")})
			return err
		}, "NotFoundException"},
		"policy put by another name": {func() error {
			_, err := api.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: &key, PolicyName: aws.String("x"), Policy: aws.String("{}")})
			return err
		}, "NotFoundException"},
		"alias without prefix": {func() error {
			_, err := api.CreateAlias(ctx, &kms.CreateAliasInput{TargetKeyId: &key, AliasName: aws.String("x")})
			return err
		}, "InvalidAliasNameException"},
		"alias of AWS": {func() error {
			_, err := api.CreateAlias(ctx, &kms.CreateAliasInput{TargetKeyId: &key, AliasName: aws.String("alias/aws/s3")})
			return err
		}, "InvalidAliasNameException"},
		"key agreement by other than": {func() error {
			_, err := api.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{KeyId: &key, KeyAgreementAlgorithm: "X25519", PublicKey: []byte("x")})
			return err
		}, "ValidationException"},
	} {
		if got := code(test.do()); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}
