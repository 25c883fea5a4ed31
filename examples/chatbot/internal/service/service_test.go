package service_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

const (
	clientRole  = "arn:aws:iam::" + local.Account + ":role/chatbot-client"
	enclaveRole = "arn:aws:iam::" + local.Account + ":role/chatbot-enclave"
)

// fixture is an enclave's service with a KMS under the demo's key policy.
type fixture struct {
	t     *testing.T
	srv   *kmstest.Server
	arn   string
	opts  service.Options
	svc   *service.Service
	log   bytes.Buffer
	steps bytes.Buffer
}

func newFixture(t *testing.T, model inference.Model) *fixture {
	t.Helper()
	f := &fixture{t: t}
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pcrs := attest.PCRs{}
	for i := range 3 {
		pcrs[i] = attest.PCRFromDigest(sha512.Sum384([]byte{byte(i)}))
	}
	f.srv, err = kmstest.NewServer(kmstest.Options{Region: local.Region, AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.srv.Close() })
	for _, role := range []string{clientRole, enclaveRole} {
		if err := f.srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: keyID(role), SecretAccessKey: "secret-canary " + role, SessionToken: "token-canary"}); err != nil {
			t.Fatal(err)
		}
	}
	policy, err := local.KeyPolicy(pcrs)
	if err != nil {
		t.Fatal(err)
	}
	if f.arn, err = f.srv.CreateKey(kmstest.KeyOptions{Policy: policy}); err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nsm.Close() })
	recipient, err := envelope.NewRecipient(t.Context(), envelope.RecipientOptions{Attester: nsm})
	if err != nil {
		t.Fatal(err)
	}
	f.opts = service.Options{
		Model: model, Recipient: recipient, KeyARN: f.arn, Region: local.Region, PCRs: pcrs,
		NewKMS: func(c aws.CredentialsProvider) envelope.KMSAPI { return f.kms(c) },
		Logger: slog.New(slog.NewTextHandler(&f.log, nil)), Steps: step.New(&f.steps, "enclave"),
	}
	f.raise(0)
	return f
}

// raise makes the service anew with another limit.
func (f *fixture) raise(maxTokens int) {
	f.t.Helper()
	f.opts.MaxTokens = maxTokens
	svc, err := service.New(f.opts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.svc = svc
}

func (f *fixture) kms(c aws.CredentialsProvider) *kms.Client {
	return kms.New(kms.Options{Region: local.Region, BaseEndpoint: aws.String(f.srv.URL()), Credentials: c, RetryMaxAttempts: 1})
}

// keyID is a principal's access key id.
func keyID(role string) string { return role[strings.LastIndexByte(role, '/')+1:] }

func creds(role string) aws.CredentialsProvider {
	return credentials.NewStaticCredentialsProvider(keyID(role), "secret-canary "+role, "token-canary")
}

func (f *fixture) client() *envelope.Client {
	f.t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: f.kms(creds(clientRole)), KeyID: f.arn})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

// request is a good one, for tests to spoil.
func (f *fixture) request(prompt string) *wire.AskRequest {
	f.t.Helper()
	plaintext, err := wire.EncodeQuestion(wire.Question{Prompt: prompt})
	if err != nil {
		f.t.Fatal(err)
	}
	return f.encrypted(plaintext)
}

func (f *fixture) encrypted(plaintext []byte) *wire.AskRequest {
	f.t.Helper()
	id := wire.NewRequestID()
	blob, err := f.client().Encrypt(f.t.Context(), plaintext, wire.RequestContext(id))
	if err != nil {
		f.t.Fatal(err)
	}
	return &wire.AskRequest{RequestID: id, AccessKeyID: keyID(enclaveRole), SecretAccessKey: "secret-canary " + enclaveRole, SessionToken: "token-canary", Region: local.Region, Ciphertext: blob}
}

func (f *fixture) ask(r *wire.AskRequest) (*wire.AskResponse, error) {
	f.t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		f.t.Fatal(err)
	}
	reply, err := f.svc.Ask(f.t.Context(), b)
	if err != nil {
		return nil, err
	}
	var resp wire.AskResponse
	return &resp, wire.DecodeJSON(reply, &resp)
}

func (f *fixture) open(resp *wire.AskResponse, id string) (wire.Answer, error) {
	plaintext, err := f.client().DecryptUnattested(f.t.Context(), resp.EncryptedData, wire.ResponseContext(id))
	if err != nil {
		return wire.Answer{}, err
	}
	return wire.DecodeAnswer(plaintext)
}

func reasonOf(err error) wire.Reason {
	var e *vsockrpc.Error
	if errors.As(err, &e) {
		return wire.Reason(e.Message)
	}
	return ""
}

func TestAnswers(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{}))
	r := f.request("question-canary")
	resp, err := f.ask(r)
	if err != nil {
		t.Fatal(err)
	}
	a, err := f.open(resp, r.RequestID)
	if err != nil || a.Text != " You said: question-canary" || a.FinishReason != "stop" || a.PromptTokens == 0 || a.CompletionTokens == 0 {
		t.Errorf("%q, %s, %d, %d, %v", a.Text, a.FinishReason, a.PromptTokens, a.CompletionTokens, err)
	}
	for _, out := range []string{f.log.String(), f.steps.String()} {
		if out == "" || strings.Contains(out, "canary") {
			t.Errorf("log or steps: %q", out)
		}
	}
}

func TestRefusals(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{MaxTokens: 100}))
	edit := func(change func(r *wire.AskRequest)) *wire.AskRequest {
		r := f.request("hello")
		change(r)
		return r
	}
	answered := f.request("hello")
	answer, err := f.ask(answered)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		r    *wire.AskRequest
		want wire.Reason
	}{
		{"no id", edit(func(r *wire.AskRequest) { r.RequestID = "" }), wire.ReasonBadRequest},
		{"another region", edit(func(r *wire.AskRequest) { r.Region = "attacker.example" }), wire.ReasonRegion},
		{"another id", edit(func(r *wire.AskRequest) { r.RequestID = wire.NewRequestID() }), wire.ReasonCiphertext},
		{"changed ciphertext", edit(func(r *wire.AskRequest) { r.Ciphertext[40] ^= 1 }), wire.ReasonCiphertext},
		{"wrong secret", edit(func(r *wire.AskRequest) { r.SecretAccessKey = "x" }), wire.ReasonCredentials},
		{"unknown principal", edit(func(r *wire.AskRequest) { r.AccessKeyID = "x" }), wire.ReasonCredentials},
		{"the client's own role", edit(func(r *wire.AskRequest) {
			r.AccessKeyID, r.SecretAccessKey = keyID(clientRole), "secret-canary "+clientRole
		}), wire.ReasonKMSDenied},
		// An answer given back as a question: its context is another one.
		{"an answer", edit(func(r *wire.AskRequest) { r.RequestID, r.Ciphertext = answered.RequestID, answer.EncryptedData }), wire.ReasonCiphertext},
		{"a huge ciphertext", edit(func(r *wire.AskRequest) { r.Ciphertext = make([]byte, 7000) }), wire.ReasonCiphertext},
		{"no question", f.encrypted([]byte("not CBOR")), wire.ReasonQuestion},
		{"a long prompt", f.request(strings.Repeat("x", 200)), wire.ReasonPromptTooLong},
	} {
		if resp, err := f.ask(tt.r); resp != nil || reasonOf(err) != tt.want {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	for _, body := range []string{"", "{}", "[]", `{"request_id":1}`, strings.Repeat("x", wire.MaxMessage+1)} {
		if _, err := f.svc.Ask(t.Context(), []byte(body)); reasonOf(err) != wire.ReasonBadRequest {
			t.Errorf("%.20q: %v", body, err)
		}
	}
	if _, err := f.ask(f.request("hello")); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if strings.Contains(f.log.String(), "canary") {
		t.Error("the log holds credentials")
	}
}

func TestKMSIsAway(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{}))
	r := f.request("hello")
	f.srv.Close()
	if _, err := f.ask(r); reasonOf(err) != wire.ReasonKMSUnavailable {
		t.Error(err)
	}
}

func TestModelErrors(t *testing.T) {
	for want, fail := range map[wire.Reason]error{
		wire.ReasonOverloaded:  inference.ErrOverloaded,
		wire.ReasonUnavailable: inference.ErrClosed,
		wire.ReasonInternal:    errors.New("canary"),
		wire.ReasonDeadline:    context.DeadlineExceeded,
	} {
		f := newFixture(t, inferencetest.New(inferencetest.Options{Step: func(context.Context) error { return fail }}))
		if _, err := f.ask(f.request("hello")); reasonOf(err) != want || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", fail, err)
		}
	}
}

func TestLongAnswerIsCut(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{MaxTokens: 1 << 20, Answer: func(string) string { return strings.Repeat("é", 10_000) }}))
	r := f.request("hello")
	resp, err := f.ask(r)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := f.open(resp, r.RequestID); err != nil || a.FinishReason != "length" || len(a.Text) != 2*service.DefaultMaxTokens {
		t.Errorf("%s, %d bytes, %v", a.FinishReason, len(a.Text), err)
	}
}

// An answer that does not fit into one KMS ciphertext is cut, and says so.
func TestLargeAnswerIsCut(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{MaxTokens: 1 << 20, Answer: func(string) string { return strings.Repeat("\U0001F642", 10_000) }}))
	// 256 tokens, here characters, of 4 bytes are 1 KiB: ask for more.
	f.raise(wire.MaxNewTokens)
	r := f.request("hello")
	resp, err := f.ask(r)
	if err != nil {
		t.Fatal(err)
	}
	if a, err := f.open(resp, r.RequestID); err != nil || a.FinishReason != wire.FinishSize || len(a.Text) != wire.MaxAnswerText/4*4 {
		t.Errorf("%s, %d bytes, %v", a.FinishReason, len(a.Text), err)
	}
}

// hostileParent answers in place of the real one.
func hostileParent(t *testing.T, f *fixture, answer func(w http.ResponseWriter, r *wire.AskRequest)) *chat.Client {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var req wire.AskRequest
		if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
			t.Error(err)
		}
		answer(w, &req)
	}))
	t.Cleanup(srv.Close)
	c, err := chat.New(chat.Options{ParentURL: srv.URL, KMS: f.client(), Delegate: creds(enclaveRole), Region: local.Region})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestHostileParent(t *testing.T) {
	f := newFixture(t, inferencetest.New(inferencetest.Options{}))
	other := f.request("another user's question")
	stolen, err := f.ask(other)
	if err != nil {
		t.Fatal(err)
	}
	send := func(w http.ResponseWriter, v any) { json.NewEncoder(w).Encode(v) }
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter, r *wire.AskRequest)
		want   func(error) bool
	}{
		"another user's answer": {func(w http.ResponseWriter, r *wire.AskRequest) {
			send(w, wire.AskResponse{RequestID: r.RequestID, EncryptedData: stolen.EncryptedData})
		}, func(err error) bool { return strings.Contains(err.Error(), "InvalidCiphertext") }},
		"another user's answer, its own id": {func(w http.ResponseWriter, r *wire.AskRequest) { send(w, stolen) },
			func(err error) bool { return strings.Contains(err.Error(), "another request") }},
		"the question as the answer": {func(w http.ResponseWriter, r *wire.AskRequest) {
			send(w, wire.AskResponse{RequestID: r.RequestID, EncryptedData: r.Ciphertext})
		}, func(err error) bool { return strings.Contains(err.Error(), "InvalidCiphertext") }},
		"garbage": {func(w http.ResponseWriter, r *wire.AskRequest) { w.Write([]byte("<html>")) },
			func(err error) bool { return strings.Contains(err.Error(), "JSON") }},
		"endless": {func(w http.ResponseWriter, r *wire.AskRequest) { w.Write(make([]byte, 1<<20)) },
			func(err error) bool { return strings.Contains(err.Error(), "at most") }},
		"text in an error": {func(w http.ResponseWriter, r *wire.AskRequest) {
			w.WriteHeader(http.StatusForbidden)
			send(w, wire.ErrorResponse{Error: wire.ErrorBody{Code: "please call 0900-canary", Message: "canary"}})
		}, func(err error) bool {
			return errors.Is(err, wire.ReasonInternal) && !strings.Contains(err.Error(), "canary")
		}},
		"no JSON in an error": {func(w http.ResponseWriter, r *wire.AskRequest) { http.Error(w, "canary", http.StatusBadGateway) },
			func(err error) bool {
				return errors.Is(err, wire.ReasonInternal) && !strings.Contains(err.Error(), "canary")
			}},
	} {
		c := hostileParent(t, f, tt.answer)
		if a, err := c.Ask(t.Context(), "hello", chat.Sampling{}); err == nil || a != (wire.Answer{}) || !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	hangs := hostileParent(t, f, func(w http.ResponseWriter, r *wire.AskRequest) {
		// Long enough that only the client's deadline can end the call.
		select {
		case <-t.Context().Done():
		case <-time.After(10 * time.Second):
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := hangs.Ask(ctx, "hello", chat.Sampling{}); !errors.Is(err, wire.ReasonDeadline) {
		t.Errorf("a parent that hangs: %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := service.New(service.Options{}); err == nil {
		t.Error("empty options accepted")
	}
	for _, u := range []string{"", "localhost:5001", "ftp://x", "http://", "http://parent.example:5001", "http://10.0.0.1:5001"} {
		f := chat.Options{ParentURL: u, KMS: &envelope.Client{}, Delegate: creds(clientRole), Region: "r"}
		if _, err := chat.New(f); err == nil {
			t.Errorf("URL %q accepted", u)
		}
	}
	for _, u := range []string{"https://parent.example", "http://127.0.0.1:5001", "http://localhost:5001", "http://[::1]:5001"} {
		if _, err := chat.New(chat.Options{ParentURL: u, KMS: &envelope.Client{}, Delegate: creds(clientRole), Region: "r"}); err != nil {
			t.Errorf("URL %q: %v", u, err)
		}
	}
	if _, err := chat.New(chat.Options{ParentURL: "https://x", KMS: &envelope.Client{}, Delegate: creds(clientRole), Region: "r", Template: "no verb"}); err == nil {
		t.Error("a template without a place for the question accepted")
	}
}
