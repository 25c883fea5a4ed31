package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
)

// running is localkms under way.
type running struct {
	env    map[string]string
	log    *syncBuffer
	cancel context.CancelFunc
	status chan int
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var exported = regexp.MustCompile(`^export (\w+)='(.*)'$`)

// start runs localkms and reads the environment that it prints.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	r := &running{env: map[string]string{}, log: &syncBuffer{}, cancel: cancel, status: make(chan int, 1)}
	go func() {
		r.status <- run(ctx, append([]string{"-listen", "127.0.0.1:0"}, args...), in, r.log)
		in.Close()
	}()
	t.Cleanup(cancel)
	lines := bufio.NewScanner(out)
	for n := 0; n < 6 && lines.Scan(); n++ {
		if m := exported.FindStringSubmatch(lines.Text()); m != nil {
			r.env[m[1]] = m[2]
		} else if lines.Text() != "unset AWS_SESSION_TOKEN" {
			t.Fatalf("printed %q", lines.Text())
		}
	}
	if r.env["AWS_ENDPOINT_URL_KMS"] == "" {
		t.Fatalf("no endpoint; exit status %d\n%s", <-r.status, r.log)
	}
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if status := <-r.status; status != 0 {
		t.Errorf("exit status %d\n%s", status, r.log)
	}
}

func (r *running) client(roots *x509.CertPool) *kms.Client {
	return kms.New(kms.Options{
		Region: r.env["AWS_REGION"], BaseEndpoint: aws.String(r.env["AWS_ENDPOINT_URL_KMS"]), RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(r.env["AWS_ACCESS_KEY_ID"], r.env["AWS_SECRET_ACCESS_KEY"], r.env["AWS_SESSION_TOKEN"]),
		HTTPClient:  &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
	})
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestKeysOutliveServer(t *testing.T) {
	ctx, state := t.Context(), filepath.Join(t.TempDir(), "kms.json")
	first := start(t, "-state", state)
	key, err := first.client(nil).CreateKey(ctx, &kms.CreateKeyInput{})
	if err != nil {
		t.Fatal(err)
	}
	id := key.KeyMetadata.KeyId
	sealed, err := first.client(nil).Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("secret")})
	if err != nil {
		t.Fatal(err)
	}
	first.stop(t)
	if log := first.log.String(); !strings.Contains(log, "operation=Encrypt") || strings.Contains(log, first.env["AWS_SECRET_ACCESS_KEY"]) {
		t.Errorf("logged %s", log)
	}
	second := start(t, "-state", state) // other credentials, the same role
	opened, err := second.client(nil).Decrypt(ctx, &kms.DecryptInput{CiphertextBlob: sealed.CiphertextBlob})
	if err != nil || string(opened.Plaintext) != "secret" {
		t.Error(opened, err)
	}
	if _, err := first.client(nil).Encrypt(ctx, &kms.EncryptInput{KeyId: id, Plaintext: []byte("x")}); err == nil {
		t.Error("the first server's credentials still work")
	}
	second.stop(t)
}

func TestTLSAndPrincipals(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	principals := write(t, `[{"arn": "arn:aws:iam::444455556666:role/a", "access_key_id": "AKIDA", "secret_access_key": "s", "session_token": "t"}]`)
	policy := write(t, `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:role/a"},"Action":"kms:DescribeKey","Resource":"*"}}`)
	r := start(t, "-tls", "-ca-out", ca, "-principals", principals, "-default-policy", policy, "-account", "444455556666", "-region", "eu-west-1")
	pem, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	key, err := r.client(roots).CreateKey(t.Context(), &kms.CreateKeyInput{})
	if err != nil || !strings.HasPrefix(*key.KeyMetadata.Arn, "arn:aws:kms:eu-west-1:444455556666:key/") {
		t.Fatal(key, err)
	}
	if _, err := r.client(roots).DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: key.KeyMetadata.KeyId}); err != nil {
		t.Error(err)
	}
	if _, err := r.client(roots).Encrypt(t.Context(), &kms.EncryptInput{KeyId: key.KeyMetadata.KeyId, Plaintext: []byte("x")}); err == nil {
		t.Error("the default policy does not allow that")
	}
	r.stop(t)
}

func TestCannotServe(t *testing.T) {
	for name, test := range map[string]struct {
		args []string
		want int
		text string
	}{
		"argument":        {[]string{"x"}, 2, "takes no arguments"},
		"unknown flag":    {[]string{"-x"}, 2, "not defined"},
		"TLS without CA":  {[]string{"-tls"}, 2, "-ca-out"},
		"CA without TLS":  {[]string{"-ca-out", "x"}, 2, "-ca-out"},
		"whole network":   {[]string{"-listen", "0.0.0.0:0"}, 1, "no loopback address"},
		"no address":      {[]string{"-listen", "nowhere"}, 1, "nowhere"},
		"bad state":       {[]string{"-state", write(t, "x")}, 1, "bad state file"},
		"no root":         {[]string{"-nsm-root", "missing"}, 1, "missing"},
		"bad root":        {[]string{"-nsm-root", write(t, "x")}, 1, "no certificate"},
		"no policy":       {[]string{"-default-policy", "missing"}, 1, "missing"},
		"bad policy":      {[]string{"-default-policy", write(t, "{}")}, 1, "policy"},
		"no principals":   {[]string{"-principals", "missing"}, 1, "missing"},
		"bad principals":  {[]string{"-principals", write(t, `[{"secret_access_key": canary}]`)}, 1, "no list of principals"},
		"empty list":      {[]string{"-principals", write(t, `[]`)}, 1, "has no principals"},
		"no secret":       {[]string{"-principals", write(t, `[{"arn": "a"}]`)}, 1, "a principal needs"},
		"quote in secret": {[]string{"-principals", write(t, `[{"arn": "a", "access_key_id": "b", "secret_access_key": "canary'"}]`)}, 1, "shell"},
		"CA not writable": {[]string{"-tls", "-ca-out", t.TempDir()}, 1, "is a directory"},
		"wrong account":   {[]string{"-account", "1"}, 1, "12 digits"},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errOut bytes.Buffer
			args := test.args
			if args[0] != "-listen" {
				args = append([]string{"-listen", "127.0.0.1:0"}, args...)
			}
			status := run(t.Context(), args, &out, &errOut)
			if status != test.want || out.Len() > 0 || !strings.Contains(errOut.String(), test.text) || strings.Contains(errOut.String(), "canary") {
				t.Errorf("exit status %d\n%s%s", status, &out, &errOut)
			}
		})
	}
}
