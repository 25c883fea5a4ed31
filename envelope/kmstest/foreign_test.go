package kmstest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// missing skips a test for want of a program, or fails it where
// NITROSEAL_REQUIRE_FOREIGN says that everything is installed.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// foreign is a server for clients in other languages, and their environment.
func foreign(t *testing.T) (f *fixture, env []string) {
	t.Helper()
	f = newFixture(t, func(o *kmstest.Options) { o.DefaultPolicy = allow(user, "kms:*") })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, f.srv.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	return f, append(os.Environ(),
		"AWS_ACCESS_KEY_ID=AKuser", "AWS_SECRET_ACCESS_KEY=secret of "+user, "AWS_SESSION_TOKEN=token of "+user,
		"AWS_REGION="+f.srv.Region(), "AWS_DEFAULT_REGION="+f.srv.Region(), "AWS_CA_BUNDLE="+ca,
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=",
		"no_proxy=127.0.0.1", "NO_PROXY=127.0.0.1")
}

// python finds an interpreter that has boto3: PATH may have one without.
func python(t *testing.T) string {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import boto3").Run() == nil {
			return name
		}
	}
	missing(t, "no python3 with boto3 (Debian: python3-boto3)")
	return ""
}

func TestBoto3(t *testing.T) {
	interpreter := python(t)
	f, env := foreign(t)
	curve, err := f.srv.CreateKey(kmstest.KeyOptions{Spec: "ECC_NIST_P256"})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: f.ca, PCRs: attest.PCRs{0: image}})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(&private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	document, err := nsm.Attest(t.Context(), attest.Request{PublicKey: spki})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	documentFile, replyFile := filepath.Join(dir, "document"), filepath.Join(dir, "reply")
	if err := os.WriteFile(documentFile, document, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), interpreter, "testdata/boto3_client.py", f.srv.URL(), curve, documentFile, replyFile)
	cmd.Env = env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if len(out) > 0 {
		t.Logf("%s", out)
	}
	sealed, err := os.ReadFile(replyFile)
	if errors.Is(err, fs.ErrNotExist) && bytes.Contains(out, []byte("does not know Recipient of Decrypt")) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if got, err := envelope.UnwrapCMS(private, sealed, envelope.UnwrapOptions{}); err != nil || string(got) != "\x00secret\xff" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestAWSCLI(t *testing.T) {
	aws, err := exec.LookPath("aws")
	if err != nil {
		missing(t, "no aws (Debian: awscli)")
	}
	f, env := foreign(t)
	call := func(args ...string) (out, errOut string) {
		var o, e bytes.Buffer
		cmd := exec.CommandContext(t.Context(), aws, append([]string{"--endpoint-url", f.srv.URL(), "--output", "json", "kms"}, args...)...)
		cmd.Env, cmd.Stdout, cmd.Stderr = env, &o, &e
		if err := cmd.Run(); err != nil && e.Len() == 0 {
			t.Fatal(err)
		}
		return o.String(), e.String()
	}
	var made struct{ KeyMetadata struct{ Arn string } }
	out, errOut := call("create-key")
	if err := json.Unmarshal([]byte(out), &made); err != nil {
		t.Fatal(err, out, errOut)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("from a file\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	var sealed struct{ CiphertextBlob []byte }
	out, errOut = call("encrypt", "--key-id", made.KeyMetadata.Arn, "--plaintext", "fileb://"+file, "--encryption-context", "direction=request")
	if err := json.Unmarshal([]byte(out), &sealed); err != nil {
		t.Fatal(err, out, errOut)
	}
	if err := os.WriteFile(file, sealed.CiphertextBlob, 0o600); err != nil {
		t.Fatal(err)
	}
	out, errOut = call("decrypt", "--ciphertext-blob", "fileb://"+file, "--encryption-context", "direction=request", "--query", "Plaintext")
	if want := base64.StdEncoding.EncodeToString([]byte("from a file\x00")); strings.TrimSpace(out) != `"`+want+`"` {
		t.Errorf("got %s%s", out, errOut)
	}
	if out, errOut = call("decrypt", "--ciphertext-blob", "fileb://"+file); out != "" || !strings.Contains(errOut, "(InvalidCiphertextException)") {
		t.Errorf("got %s%s", out, errOut)
	}
	if out, errOut = call("describe-key", "--key-id", f.arn); !strings.Contains(out, "AWS_KMS") {
		t.Errorf("got %s%s", out, errOut)
	}
}
