package blog_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

const (
	account = "111122223333"
	region  = "us-east-1"
	role    = "arn:aws:iam::" + account + ":role/chatbot"
	alias   = "alias/chatbot"

	accessKey = "ASIACANARY"
	secretKey = "secret-canary"
	token     = "token-canary"
)

// logBuffer is a log that several goroutines write and a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// world is the whole pipeline: KMS over TLS, an enclave's service behind
// vsockrpc, and the parent over HTTP.
type world struct {
	t         *testing.T
	kms       *kmstest.Server
	kmsHTTP   *http.Client
	key       string
	pcrs      attest.PCRs
	recipient *envelope.Recipient
	parent    string // URL
	log       logBuffer
}

func newWorld(t *testing.T, model inference.Model, edit func(*blog.ServiceOptions)) *world {
	t.Helper()
	w := &world{t: t, pcrs: attest.PCRs{}}
	for i := range 3 {
		w.pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{byte(i)}))
	}
	w.startKMS()
	logger := slog.New(slog.NewTextHandler(&w.log, nil))
	opts := blog.ServiceOptions{
		Model: model, Recipient: w.recipient, KeyARN: w.key, Region: region, Logger: logger,
		NewKMS: func(c aws.CredentialsProvider) envelope.KMSAPI { return w.client(c) },
	}
	if edit != nil {
		edit(&opts)
	}
	svc, err := blog.NewService(opts)
	if err != nil {
		t.Fatal(err)
	}
	addr := "mem://blog-" + rand.Text()
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: blog.MaxRequest})
	srv.Handle(blog.Method, svc.Ask)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	enclave, err := vsockrpc.NewClient(addr, vsockrpc.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	front := httptest.NewServer(blog.NewParentHandler(blog.ParentOptions{Enclave: enclave, Timeout: time.Minute, Logger: logger}))
	w.parent = front.URL
	t.Cleanup(func() {
		front.Close()
		enclave.Close()
		srv.Close()
		if err := <-served; !errors.Is(err, vsockrpc.ErrServerClosed) {
			t.Error(err)
		}
		if l := w.log.String(); strings.Contains(strings.ToLower(l), "canary") {
			t.Errorf("the log holds credentials or content:\n%s", l)
		}
	})
	return w
}

// startKMS makes the KMS with the post's key policy, and the enclave's key.
func (w *world) startKMS() {
	w.t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.kms, err = kmstest.NewTLSServer(kmstest.Options{Region: region, Account: account, AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { w.kms.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.kms.CACertPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}
	w.t.Cleanup(transport.CloseIdleConnections)
	w.kmsHTTP = &http.Client{Transport: transport}
	if err := w.kms.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: accessKey, SecretAccessKey: secretKey, SessionToken: token}); err != nil {
		w.t.Fatal(err)
	}
	if w.key, err = w.kms.CreateKey(kmstest.KeyOptions{Alias: alias, Policy: w.policy(w.pcrs)}); err != nil {
		w.t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: w.pcrs})
	if err != nil {
		w.t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { nsm.Close() })
	if w.recipient, err = envelope.NewRecipient(w.t.Context(), envelope.RecipientOptions{Attester: nsm}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) policy(pcrs attest.PCRs) string {
	w.t.Helper()
	policy, err := blog.KeyPolicy(account, role, pcrs)
	if err != nil {
		w.t.Fatal(err)
	}
	return policy
}

func (w *world) client(c aws.CredentialsProvider) *kms.Client {
	return kms.New(kms.Options{Region: region, BaseEndpoint: aws.String(w.kms.URL()), Credentials: c, HTTPClient: w.kmsHTTP, RetryMaxAttempts: 1})
}

// user is the KMS client with the user's own credentials.
func (w *world) user() *kms.Client {
	return w.client(credentials.NewStaticCredentialsProvider(accessKey, secretKey, token))
}

// message is what the post's client sends.
type message struct {
	AccessKeyID     string `json:"access_key_id"`
	SecretAccessKey string `json:"secret_access_key"`
	Token           string `json:"token"`
	Region          string `json:"region"`
	Ciphertext      string `json:"ciphertext"`
}

// message makes the message for a question, as the post's client does: lower
// case, the key by its alias, no encryption context.
func (w *world) message(question string) message {
	w.t.Helper()
	return w.encrypted([]byte(strings.ToLower(question)))
}

func (w *world) encrypted(plaintext []byte) message {
	w.t.Helper()
	out, err := w.user().Encrypt(w.t.Context(), &kms.EncryptInput{KeyId: aws.String(alias), Plaintext: plaintext})
	if err != nil {
		w.t.Error(err)
		return message{}
	}
	return message{accessKey, secretKey, token, region, base64.StdEncoding.EncodeToString(out.CiphertextBlob)}
}

// reply is what the parent sends back, one member or the other.
type reply struct {
	EncryptedData string
	Error         string `json:"error"`
}

// post sends a message and returns the HTTP status with the reply.
func (w *world) post(m message) (int, reply) {
	w.t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		w.t.Error(err)
	}
	return w.postBytes(body)
}

func (w *world) postBytes(body []byte) (int, reply) {
	w.t.Helper()
	resp, err := http.Post(w.parent, "application/json", bytes.NewReader(body))
	if err != nil {
		w.t.Error(err)
		return 0, reply{}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Error(err)
	}
	if ct := resp.Header.Get("Content-Type"); ct != "application/json" {
		w.t.Errorf("content type %q", ct)
	}
	var r reply
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil || (r.EncryptedData == "") == (r.Error == "") {
		w.t.Errorf("HTTP %d, %q: %v", resp.StatusCode, b, err)
	}
	return resp.StatusCode, r
}

// open decrypts a reply without attestation, as the post's client does, and
// returns the JSON text that it prints.
func (w *world) open(r reply) (string, error) {
	if r.Error != "" {
		return "", errors.New(r.Error)
	}
	blob, err := base64.StdEncoding.DecodeString(r.EncryptedData)
	if err != nil {
		return "", err
	}
	out, err := w.user().Decrypt(w.t.Context(), &kms.DecryptInput{CiphertextBlob: blob})
	if err != nil {
		return "", err
	}
	return string(out.Plaintext), nil
}

// ask is the post's client from question to printed JSON. Like what it calls,
// it may run in any goroutine.
func (w *world) ask(question string) (string, error) {
	w.t.Helper()
	status, r := w.post(w.message(question))
	printed, err := w.open(r)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("HTTP %d beside an answer", status)
	}
	return printed, err
}

// results reads the JSON text.
func results(t *testing.T, printed string) string {
	t.Helper()
	var r map[string]string
	if err := json.Unmarshal([]byte(printed), &r); err != nil || len(r) != 1 {
		t.Fatalf("%q: %v", printed, err)
	}
	return r["Results"]
}

// stillServes fails the test if the pipeline does not answer any more.
func (w *world) stillServes(after string) {
	w.t.Helper()
	if printed, err := w.ask("Hello, Canary"); err != nil || printed != `{"Results": "You said: hello, canary"}` {
		w.t.Fatalf("after %s: %q, %v", after, printed, err)
	}
}

// blocked is a step of a model that lets tests hold an answer up.
func blocked(entered chan<- struct{}, release <-chan struct{}) func(context.Context) error {
	return func(ctx context.Context) error {
		select {
		case entered <- struct{}{}: // the first step of an answer
		case <-release:
		case <-ctx.Done():
		}
		select {
		case <-release:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
