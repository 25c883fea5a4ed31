package envelope_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// openssl runs the openssl command, or skips the test where there is none.
func openssl(t *testing.T, in []byte, args ...string) []byte {
	t.Helper()
	bin, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
			t.Fatal("the openssl command is not installed")
		}
		t.Skip("the openssl command is not installed: nothing to interoperate with")
	}
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Stdin = bytes.NewReader(in)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %v: %v\n%s", args, err, &errOut)
	}
	return out
}

// recipientFiles makes a key with a certificate, whose subjectKeyIdentifier is
// the one under which KMS addresses the key, or 20 bytes as usual.
func recipientFiles(t *testing.T, bits int, asKMS bool) (key *rsa.PrivateKey, keyFile, certFile string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	id := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "recipient"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), SubjectKeyId: id[:20],
	}
	if asKMS {
		template.SubjectKeyId = id[:]
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return key, write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), write("cert.pem", "CERTIFICATE", cert)
}

// What openssl cms -encrypt makes opens here.
func TestOpenSSLEncrypts(t *testing.T) {
	oaep := []string{"-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256", "-keyopt", "rsa_mgf1_md:sha256"}
	for _, bits := range []int{2048, 3072} {
		for _, asKMS := range []bool{true, false} {
			key, _, cert := recipientFiles(t, bits, asKMS)
			for name, form := range map[string][]string{
				"identifier, DER":        {"-keyid"},
				"identifier, BER stream": {"-keyid", "-stream", "-indef"},
				"issuer and serial":      {},
			} {
				for _, size := range []int{0, 1, 16, 4096, 100_000} {
					plain := randomBytes(size)
					args := append([]string{"cms", "-encrypt", "-binary", "-aes256", "-outform", "DER", "-recip", cert}, append(oaep, form...)...)
					message := openssl(t, plain, args...)
					got, err := envelope.UnwrapCMS(key, message, envelope.UnwrapOptions{AnyRecipientID: true})
					if err != nil || !bytes.Equal(got, plain) {
						t.Errorf("RSA-%d, %s, %d bytes: %d bytes, %v", bits, name, size, len(got), err)
					}
					// By default only the identifier of KMS will do.
					strict := asKMS && name != "issuer and serial"
					if _, err := envelope.UnwrapCMS(key, message, envelope.UnwrapOptions{}); (err == nil) != strict {
						t.Errorf("RSA-%d, %s, %d bytes: strictly: %v", bits, name, size, err)
					}
				}
			}
			for name, weaker := range map[string][]string{
				"PKCS #1 v1.5": {"-aes256"},
				"SHA-1":        {"-aes256", "-keyopt", "rsa_padding_mode:oaep"},
				"AES-128":      append([]string{"-aes128"}, oaep...),
			} {
				args := append([]string{"cms", "-encrypt", "-binary", "-outform", "DER", "-keyid", "-recip", cert}, weaker...)
				if _, err := envelope.UnwrapCMS(key, openssl(t, []byte("text"), args...), envelope.UnwrapOptions{AnyRecipientID: true}); err != envelope.ErrOpen {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
}

// What the local KMS makes for a recipient, openssl cms -decrypt opens.
func TestOpenSSLDecrypts(t *testing.T) {
	key, keyFile, certFile := recipientFiles(t, 2048, true)
	api, document := attestedKMS(t, &key.PublicKey)
	for _, n := range []int32{1, 15, 16, 17, 1024} {
		out, err := api.GenerateRandom(t.Context(), &kms.GenerateRandomInput{
			NumberOfBytes: aws.Int32(n),
			Recipient:     &types.RecipientInfo{AttestationDocument: document, KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256},
		})
		if err != nil {
			t.Fatal(err)
		}
		got := openssl(t, out.CiphertextForRecipient, "cms", "-decrypt", "-binary", "-inform", "DER", "-inkey", keyFile, "-recip", certFile)
		want, err := envelope.UnwrapCMS(key, out.CiphertextForRecipient, envelope.UnwrapOptions{})
		if err != nil || len(want) != int(n) || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: openssl reads %d, UnwrapCMS %d, %v", n, len(got), len(want), err)
		}
	}
}

// attestedKMS is a local KMS, and an attestation document for the key.
func attestedKMS(t *testing.T, key *rsa.PublicKey) (*kms.Client, []byte) {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: bytes.Repeat([]byte{1}, 48)}})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	document, err := nsm.Attest(t.Context(), attest.Request{PublicKey: spki})
	if err != nil {
		t.Fatal(err)
	}
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
		t.Fatal(err)
	}
	return kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()),
		Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
	}), document
}
