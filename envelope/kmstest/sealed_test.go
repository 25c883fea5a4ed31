package kmstest_test

import (
	"crypto/ecdsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// allow is a policy that lets a principal do some actions.
func allow(arn string, actions ...string) string {
	return fmt.Sprintf(`{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":%q},"Action":["%s"],"Resource":"*"}}`, arn, strings.Join(actions, `","`))
}

func (f *fixture) key(policy string) string {
	f.t.Helper()
	arn, err := f.srv.CreateKey(kmstest.KeyOptions{Policy: policy})
	if err != nil {
		f.t.Fatal(err)
	}
	return arn
}

func TestReEncrypt(t *testing.T) {
	f := newFixture(t, nil)
	ctx := t.Context()
	from := f.key(allow(user, "kms:Encrypt", "kms:ReEncryptFrom", "kms:Decrypt"))
	to := f.key(allow(user, "kms:ReEncryptTo", "kms:Decrypt"))
	shut := f.key(allow(enclave, "kms:*"))
	curve, err := f.srv.CreateKey(kmstest.KeyOptions{Policy: allow(user, "kms:*"), Spec: "ECC_NIST_P256"})
	if err != nil {
		t.Fatal(err)
	}
	api := f.kms(user)
	old, next := map[string]string{"a": "1"}, map[string]string{"b": "2"}
	sealed, err := api.Encrypt(ctx, &kms.EncryptInput{KeyId: &from, Plaintext: []byte("secret"), EncryptionContext: old})
	if err != nil {
		t.Fatal(err)
	}
	input := func(edit func(*kms.ReEncryptInput)) *kms.ReEncryptInput {
		in := &kms.ReEncryptInput{CiphertextBlob: sealed.CiphertextBlob, SourceEncryptionContext: old, DestinationKeyId: &to, DestinationEncryptionContext: next}
		if edit != nil {
			edit(in)
		}
		return in
	}
	moved, err := api.ReEncrypt(ctx, input(nil))
	if err != nil || aws.ToString(moved.SourceKeyId) != from || aws.ToString(moved.KeyId) != to ||
		moved.SourceEncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault || moved.DestinationEncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault {
		t.Fatal(moved, err)
	}
	opened, err := api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: moved.CiphertextBlob, KeyId: &to, EncryptionContext: next})
	if err != nil || string(opened.Plaintext) != "secret" {
		t.Fatal(opened, err)
	}
	for name, test := range map[string]struct {
		edit func(*kms.ReEncryptInput)
		want string
	}{
		"dry run":         {func(in *kms.ReEncryptInput) { in.DryRun = aws.Bool(true) }, "DryRunOperationException"},
		"no destination":  {func(in *kms.ReEncryptInput) { in.DestinationKeyId = aws.String("none") }, "NotFoundException"},
		"not to that key": {func(in *kms.ReEncryptInput) { in.DestinationKeyId = &shut }, "AccessDeniedException"},
		"not from that key": {func(in *kms.ReEncryptInput) {
			in.CiphertextBlob, in.SourceEncryptionContext = moved.CiphertextBlob, next
		}, "AccessDeniedException"},
		"other source":      {func(in *kms.ReEncryptInput) { in.SourceKeyId = &to }, "IncorrectKeyException"},
		"source not there":  {func(in *kms.ReEncryptInput) { in.SourceKeyId = aws.String("none") }, "NotFoundException"},
		"other context":     {func(in *kms.ReEncryptInput) { in.SourceEncryptionContext = next }, "InvalidCiphertextException"},
		"no ciphertext":     {func(in *kms.ReEncryptInput) { in.CiphertextBlob = []byte("x") }, "InvalidCiphertextException"},
		"key for agreement": {func(in *kms.ReEncryptInput) { in.DestinationKeyId = &curve }, "InvalidKeyUsageException"},
		"other algorithm": {func(in *kms.ReEncryptInput) {
			in.SourceEncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha256
		}, "InvalidKeyUsageException"},
		"other algorithm to": {func(in *kms.ReEncryptInput) {
			in.DestinationEncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha256
		}, "InvalidKeyUsageException"},
	} {
		if _, err := api.ReEncrypt(ctx, input(test.edit)); code(err) != test.want {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestWithoutPlaintext(t *testing.T) {
	f := newFixture(t, nil)
	ctx := t.Context()
	arn := f.key(allow(user, "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateDataKeyPairWithoutPlaintext", "kms:Decrypt"))
	api := f.kms(user)
	for _, in := range []*kms.GenerateDataKeyWithoutPlaintextInput{{KeySpec: types.DataKeySpecAes128}, {NumberOfBytes: aws.Int32(16)}} {
		in.KeyId, in.EncryptionContext = &arn, request
		out, err := api.GenerateDataKeyWithoutPlaintext(ctx, in)
		if err != nil || aws.ToString(out.KeyId) != arn {
			t.Fatal(out, err)
		}
		opened, err := api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: out.CiphertextBlob, EncryptionContext: request})
		if err != nil || len(opened.Plaintext) != 16 {
			t.Error(opened, err)
		}
	}
	pair, err := api.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: &arn, KeyPairSpec: types.DataKeyPairSpecEccNistP256})
	if err != nil || pair.KeyPairSpec != types.DataKeyPairSpecEccNistP256 || aws.ToString(pair.KeyId) != arn {
		t.Fatal(pair, err)
	}
	opened, err := api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: pair.PrivateKeyCiphertextBlob})
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.ParsePKCS8PrivateKey(opened.Plaintext)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.ParsePKIXPublicKey(pair.PublicKey)
	if err != nil || !private.(*ecdsa.PrivateKey).PublicKey.Equal(public) {
		t.Error("the keys are no pair", err)
	}
	for name, do := range map[string]func() error{
		"ValidationException": func() error {
			_, err := api.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: &arn})
			return err
		},
		"NotFoundException": func() error {
			_, err := api.GenerateDataKeyWithoutPlaintext(ctx, &kms.GenerateDataKeyWithoutPlaintextInput{KeyId: aws.String("none"), KeySpec: types.DataKeySpecAes256})
			return err
		},
		"AccessDeniedException": func() error {
			_, err := f.kms(enclave).GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: &arn, KeyPairSpec: types.DataKeyPairSpecEccNistP256})
			return err
		},
		"UnsupportedOperationException": func() error {
			_, err := api.GenerateDataKeyPairWithoutPlaintext(ctx, &kms.GenerateDataKeyPairWithoutPlaintextInput{KeyId: &arn, KeyPairSpec: types.DataKeyPairSpecSm2})
			return err
		},
	} {
		if err := do(); code(err) != name {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestDryRun(t *testing.T) {
	f := newFixture(t, nil)
	ctx, yes := t.Context(), aws.Bool(true)
	api := f.kms(user)
	if _, err := api.Encrypt(ctx, &kms.EncryptInput{KeyId: &f.arn, Plaintext: []byte("x"), DryRun: yes}); code(err) != "DryRunOperationException" {
		t.Error(err)
	}
	if _, err := api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: f.encrypt("x"), EncryptionContext: request, DryRun: yes}); code(err) != "AccessDeniedException" {
		t.Error("a dry run that would fail:", err)
	}
}

func TestLists(t *testing.T) {
	f := newFixture(t, nil)
	ctx := t.Context()
	want := []string{f.arn}
	for range 6 {
		want = append(want, f.key(""))
	}
	if err := f.srv.PutKeyPolicy(f.arn, allow(user, "kms:CreateAlias")); err != nil {
		t.Fatal(err)
	}
	api := f.kms(user)
	for _, name := range []string{"alias/b", "alias/a"} {
		if _, err := api.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &f.arn}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	keys := kms.NewListKeysPaginator(api, &kms.ListKeysInput{Limit: aws.Int32(3)})
	for keys.HasMorePages() {
		page, err := keys.NextPage(ctx)
		if err != nil || len(page.Keys) > 3 {
			t.Fatal(page, err)
		}
		for _, k := range page.Keys {
			got = append(got, *k.KeyArn)
		}
	}
	slices.Sort(want)
	if !slices.Equal(got, want) { // by id, and all ARNs begin alike
		t.Errorf("got %q, want %q", got, want)
	}
	aliases, err := api.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &f.arn})
	if err != nil || len(aliases.Aliases) != 3 || *aliases.Aliases[0].AliasName != "alias/a" || aliases.Truncated ||
		*aliases.Aliases[0].AliasArn != "arn:aws:kms:us-east-1:111122223333:alias/a" || f.arn[len(f.arn)-36:] != *aliases.Aliases[0].TargetKeyId {
		t.Error(aliases, err)
	}
	if none, err := api.ListAliases(ctx, &kms.ListAliasesInput{KeyId: &want[1], Limit: aws.Int32(1)}); err != nil || len(none.Aliases) > 1 {
		t.Error(none, err)
	}
	if _, err := api.ListKeys(ctx, &kms.ListKeysInput{Limit: aws.Int32(1001)}); code(err) != "ValidationException" {
		t.Error(err)
	}
	if _, err := api.ListAliases(ctx, &kms.ListAliasesInput{Marker: aws.String("x")}); code(err) != "InvalidMarkerException" {
		t.Error(err)
	}
	if _, err := api.ListAliases(ctx, &kms.ListAliasesInput{KeyId: aws.String("none")}); code(err) != "NotFoundException" {
		t.Error(err)
	}
}
