package kmstest_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// withState starts a server on a state file.
func withState(t *testing.T, file string) (*kmstest.Server, *kms.Client) {
	t.Helper()
	srv, err := kmstest.NewServer(kmstest.Options{StateFile: file, DefaultPolicy: allow(user, "kms:*")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	if err := srv.AddPrincipal(kmstest.Principal{ARN: user, AccessKeyID: "AKuser", SecretAccessKey: "secret"}); err != nil {
		t.Fatal(err)
	}
	return srv, kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider("AKuser", "secret", ""),
	})
}

func TestState(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(t.TempDir(), "kms.json")
	srv, api := withState(t, file)
	made, err := api.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	curve, err := api.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP384, KeyUsage: types.KeyUsageTypeKeyAgreement})
	if err != nil {
		t.Fatal(err)
	}
	id := made.KeyMetadata.KeyId
	public, err := api.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: curve.KeyMetadata.KeyId})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := api.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/a"), TargetKeyId: id}); err != nil {
		t.Fatal(err)
	}
	policy := allow(user, "kms:*", "kms:DescribeKey")
	if _, err := api.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: id, Policy: &policy}); err != nil {
		t.Fatal(err)
	}
	sealed, err := api.Encrypt(ctx, &kms.EncryptInput{KeyId: aws.String("alias/a"), Plaintext: []byte("kept")})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	// One server at a time.
	if _, err := kmstest.New(kmstest.Options{StateFile: file}); err == nil || !strings.Contains(err.Error(), "another server") {
		t.Error(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.CreateKey(kmstest.KeyOptions{}); err == nil {
		t.Error("a closed server saved")
	}

	_, api = withState(t, file)
	opened, err := api.Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob, KeyId: aws.String("alias/a")})
	if err != nil || string(opened.Plaintext) != "kept" {
		t.Error(opened, err)
	}
	if got, err := api.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: id}); err != nil || *got.Policy != policy {
		t.Error(got, err)
	}
	if got, err := api.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: curve.KeyMetadata.KeyId}); err != nil || !bytes.Equal(got.PublicKey, public.PublicKey) {
		t.Error(got, err)
	}
	if got, err := api.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: id}); err != nil || !got.KeyMetadata.CreationDate.Equal(*made.KeyMetadata.CreationDate) {
		t.Error(got, err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
	if err != nil || len(left) > 0 {
		t.Error("left over:", left, err)
	}
}

// TestStateCannotBeSaved checks that what is not saved is not there either.
func TestStateCannotBeSaved(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	srv, api := withState(t, filepath.Join(dir, "kms.json"))
	made, err := api.CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.CreateKey(kmstest.KeyOptions{Alias: "alias/b"}); err == nil {
		t.Error("CreateKey")
	}
	if _, err := api.CreateKey(ctx, &kms.CreateKeyInput{}); code(err) != "KMSInternalException" {
		t.Error(err)
	}
	if _, err := api.CreateAlias(ctx, &kms.CreateAliasInput{AliasName: aws.String("alias/b"), TargetKeyId: made.KeyMetadata.KeyId}); code(err) != "KMSInternalException" {
		t.Error(err)
	}
	policy := allow(user, "kms:DescribeKey")
	if _, err := api.PutKeyPolicy(ctx, &kms.PutKeyPolicyInput{KeyId: made.KeyMetadata.KeyId, Policy: &policy}); code(err) != "KMSInternalException" {
		t.Error(err)
	}
	keys, err := api.ListKeys(ctx, &kms.ListKeysInput{})
	if err != nil || len(keys.Keys) != 1 {
		t.Error(keys, err)
	}
	aliases, err := api.ListAliases(ctx, &kms.ListAliasesInput{})
	if err != nil || len(aliases.Aliases) != 0 {
		t.Error(aliases, err)
	}
	if got, err := api.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: made.KeyMetadata.KeyId}); err != nil || *got.Policy == policy {
		t.Error(got, err)
	}
}

const goodState = `{"format": "nitroseal kmstest state 1", "region": "us-east-1", "account": "111122223333",
	"keys": [{"id": "01234567-89ab-4def-8123-456789abcdef", "spec": "SYMMETRIC_DEFAULT", "created": "2026-01-02T03:04:05Z",
		"material": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "policy": ""}],
	"aliases": {"alias/a": "01234567-89ab-4def-8123-456789abcdef"}}`

func TestBadState(t *testing.T) {
	load := func(text string) (string, error) {
		file := filepath.Join(t.TempDir(), "kms.json")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		srv, err := kmstest.New(kmstest.Options{StateFile: file})
		if err == nil {
			srv.Close()
		}
		return file, err
	}
	if _, err := load(goodState); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"empty":            {goodState, ""},
		"cut short":        {`"aliases"`, ""},
		"trailing":         {`abcdef"}}`, `abcdef"}}{}`},
		"other format":     {"state 1", "state 2"},
		"unknown member":   {`"region"`, `"regions": [], "region"`},
		"other region":     {"us-east-1", "us-east-2"},
		"other account":    {"111122223333", "444455556666"},
		"id":               {"01234567-89ab", "0123456789ab"},
		"id in upper case": {`"id": "01234567-89ab-4def-8123-456789abcdef"`, `"id": "01234567-89AB-4DEF-8123-456789ABCDEF"`},
		"short material":   {"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAEC"},
		"material":         {"AAECAwQF", "-AECAwQF"},
		"spec":             {"SYMMETRIC_DEFAULT", "RSA_2048"},
		"spec of a curve":  {"SYMMETRIC_DEFAULT", "ECC_NIST_P521"},
		"policy":           {`"policy": ""`, `"policy": "{}"`},
		"alias of no key":  {`"alias/a": "0`, `"alias/a": "1`},
		"no alias":         {`"alias/a"`, `"a"`},
		"twice":            {`"keys": [`, `"keys": [{"id": "01234567-89ab-4def-8123-456789abcdef", "spec": "SYMMETRIC_DEFAULT", "created": "2026-01-02T03:04:05Z", "material": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "policy": ""},`},
	} {
		text := strings.Replace(goodState, edit[0], edit[1], 1)
		file, err := load(text)
		if !errors.Is(err, kmstest.ErrState) || strings.Contains(err.Error(), "AAEC") {
			t.Errorf("%s: %v", name, err)
		}
		// Nothing was written over it, and the next server may try.
		if now, readErr := os.ReadFile(file); readErr != nil || string(now) != text {
			t.Errorf("%s: the file changed: %v", name, readErr)
		}
		if err := os.WriteFile(file, []byte(goodState), 0o600); err != nil {
			t.Fatal(err)
		}
		srv, err := kmstest.New(kmstest.Options{StateFile: file})
		if err != nil {
			t.Errorf("%s: still locked: %v", name, err)
			continue
		}
		srv.Close()
	}
	if _, err := kmstest.New(kmstest.Options{StateFile: t.TempDir()}); err == nil {
		t.Error("a directory is no state file")
	}
	if _, err := kmstest.New(kmstest.Options{DefaultPolicy: "{}"}); err == nil {
		t.Error("a default policy that is none")
	}
}

// FuzzState loads anything; what loads is the same when saved and loaded again.
func FuzzState(f *testing.F) {
	f.Add([]byte(goodState))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "kms.json")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		srv, err := kmstest.New(kmstest.Options{StateFile: file})
		if err != nil {
			if !errors.Is(err, kmstest.ErrState) {
				t.Fatal(err)
			}
			return
		}
		if _, err := srv.CreateKey(kmstest.KeyOptions{}); err != nil {
			t.Fatal(err)
		}
		srv.Close()
		saved, err := os.ReadFile(file)
		if err != nil || !json.Valid(saved) {
			t.Fatal(err)
		}
		again, err := kmstest.New(kmstest.Options{StateFile: file})
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	})
}
