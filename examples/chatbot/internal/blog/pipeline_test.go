package blog_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// roomy is a model whose answers end for other reasons than its own space.
func roomy(answer func(string) string) *inferencetest.Model {
	return inferencetest.New(inferencetest.Options{MaxTokens: 1 << 20, Answer: answer})
}

func TestShortQuestion(t *testing.T) {
	w := newWorld(t, roomy(nil), nil)
	w.stillServes("nothing")
	if printed, err := w.ask("\"<QUOTES>\"\n& \u00dcmlaut \U0001f642"); err != nil || printed != `{"Results": "You said: \"<quotes>\"\n& `+"\u00fcmlaut \U0001f642\"}" {
		t.Errorf("%q, %v", printed, err)
	}
	for _, part := range []string{"insecure blog mode: users' AWS credentials", "insecure blog mode: questions are taken", "outcome=answered"} {
		if !strings.Contains(w.log.String(), part) {
			t.Errorf("the log does not say %q:\n%s", part, &w.log)
		}
	}
}

// The original broke at 4,096 bytes of JSON, in both directions.
func TestLongMessages(t *testing.T) {
	w := newWorld(t, roomy(nil), func(o *blog.ServiceOptions) { o.MaxTokens = 4096 })
	for _, size := range []int{3000, 4000, 4096} {
		question := strings.Repeat("canary ", size/7+1)[:size]
		m := w.message(question)
		status, r := w.post(m)
		printed, err := w.open(r)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%d bytes: HTTP %d, %v", size, status, err)
		}
		if size > 3000 && (len(m.Ciphertext) < 4096 || len(r.EncryptedData) < 4096) {
			t.Errorf("%d bytes: messages of %d and %d bytes are not long", size, len(m.Ciphertext), len(r.EncryptedData))
		}
		// What fits of the echo is there, and the JSON is whole.
		want := strings.TrimSpace("You said: " + question)
		got := results(t, printed)
		if full := size <= 4000; full && got != want || !full && (len(printed) != 4096 || !strings.HasPrefix(want, got)) {
			t.Errorf("%d bytes: an answer of %d bytes in JSON of %d", size, len(got), len(printed))
		}
	}
	w.stillServes("long messages")
}

// Answers of any characters are cut so that JSON and characters stay whole.
func TestLargeAnswers(t *testing.T) {
	var unit string
	w := newWorld(t, roomy(func(q string) string {
		if strings.HasPrefix(q, "hello") {
			return inferencetest.Echo(q)
		}
		return strings.Repeat(unit, 5000)
	}), func(o *blog.ServiceOptions) { o.MaxTokens = 4096 })
	for _, unit = range []string{"a", "\u00e9", "\u20ac", "\U0001f642", `"`, "\x01", "x\u2028", "<", "a\x01\U0001f642"} {
		printed, err := w.ask("question")
		if err != nil {
			t.Fatalf("%q: %v", unit, err)
		}
		got := results(t, printed)
		if !utf8.ValidString(printed) || len(printed) > 4096 || len(printed) < 4096-6 || !strings.HasPrefix(strings.Repeat(unit, 5000), got) {
			t.Errorf("%q: %d bytes of JSON, %d of text", unit, len(printed), len(got))
		}
	}
	w.stillServes("large answers")
}

func TestRefusals(t *testing.T) {
	w := newWorld(t, inferencetest.New(inferencetest.Options{MaxTokens: 400}), nil)
	edit := func(change func(*message)) message {
		m := w.message("hello")
		change(&m)
		return m
	}
	flip := func(m *message) {
		blob, err := base64.StdEncoding.DecodeString(m.Ciphertext)
		if err != nil {
			t.Fatal(err)
		}
		blob[len(blob)-1] ^= 1
		m.Ciphertext = base64.StdEncoding.EncodeToString(blob)
	}
	second, err := w.kms.CreateKey(kmstest.KeyOptions{Policy: w.policy(w.pcrs)})
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.user().Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(second), Plaintext: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		m      message
		status int
		want   string
	}{
		{"changed ciphertext", edit(flip), 200, blog.KMSFailure},
		{"no ciphertext of KMS", edit(func(m *message) { m.Ciphertext = "AAAA" }), 200, blog.KMSFailure},
		{"huge ciphertext", edit(func(m *message) { m.Ciphertext = strings.Repeat("AAAA", 5000) }), 200, blog.KMSFailure},
		{"another key", edit(func(m *message) { m.Ciphertext = base64.StdEncoding.EncodeToString(other.CiphertextBlob) }), 200, blog.KMSFailure},
		{"wrong secret", edit(func(m *message) { m.SecretAccessKey = "x" }), 200, blog.KMSFailure},
		{"unknown access key", edit(func(m *message) { m.AccessKeyID = "x" }), 200, blog.KMSFailure},
		{"wrong token", edit(func(m *message) { m.Token = "x" }), 200, blog.KMSFailure},
		{"no token", edit(func(m *message) { m.Token = "" }), 200, blog.KMSFailure},
		{"wrong region", edit(func(m *message) { m.Region = "eu-central-1" }), 400, "the enclave serves another AWS region"},
		{"not base64", edit(func(m *message) { m.Ciphertext = "%%%%" }), 400, "the request is not of the documented form"},
		{"no credentials", edit(func(m *message) { m.AccessKeyID = "" }), 400, "the request is not of the documented form"},
		{"not text", w.encrypted([]byte("\xff\xfe")), 400, "the question is not text that the model takes"},
		{"more than the model holds", w.message(strings.Repeat("x", 400)), 413, "the question is too long for the model"},
	} {
		if status, r := w.post(tt.m); status != tt.status || r.Error != tt.want {
			t.Errorf("%s: HTTP %d, %q", tt.name, status, r.Error)
		}
		w.stillServes(tt.name)
	}
	for name, tt := range map[string]struct {
		body   []byte
		status int
		want   string
	}{
		"broken JSON": {[]byte(`{"access_key_id": "canary`), 400, "the request is not of the documented form"},
		"nothing":     {nil, 400, "the request is not of the documented form"},
		"the largest": {bytes.Repeat([]byte("x"), blog.MaxRequest), 400, "the request is not of the documented form"},
		"oversize":    {bytes.Repeat([]byte("x"), blog.MaxRequest+1), 413, "the request is larger than the server takes"},
	} {
		if status, r := w.postBytes(tt.body); status != tt.status || r.Error != tt.want {
			t.Errorf("%s: HTTP %d, %q", name, status, r.Error)
		}
		w.stillServes(name)
	}
}

// The original's text, exactly: clients compare it.
func TestKMSFailureText(t *testing.T) {
	if blog.KMSFailure != "KMS Error. Decryption Failed." {
		t.Error(blog.KMSFailure)
	}
}

// With another image in the key policy KMS refuses, whichever register it is.
func TestWrongPCR(t *testing.T) {
	w := newWorld(t, roomy(nil), nil)
	for i := range 3 {
		other := maps.Clone(w.pcrs)
		other[i] = attest.PCRFromDigest([48]byte{1})
		if err := w.kms.PutKeyPolicy(w.key, w.policy(other)); err != nil {
			t.Fatal(err)
		}
		if status, r := w.post(w.message("hello")); status != http.StatusOK || r.Error != blog.KMSFailure {
			t.Errorf("PCR%d: HTTP %d, %q", i, status, r.Error)
		}
		if err := w.kms.PutKeyPolicy(w.key, w.policy(w.pcrs)); err != nil {
			t.Fatal(err)
		}
		w.stillServes(fmt.Sprintf("another PCR%d", i))
	}
}

// The mode's principal has no part in ciphertexts with an encryption context,
// such as those of another mode under the same key.
func TestPolicyIsForNoContext(t *testing.T) {
	w := newWorld(t, roomy(nil), nil)
	direction := map[string]string{"direction": "request"}
	var denied smithy.APIError
	_, err := w.user().Encrypt(t.Context(), &kms.EncryptInput{KeyId: aws.String(alias), Plaintext: []byte("x"), EncryptionContext: direction})
	if !errors.As(err, &denied) || denied.ErrorCode() != "AccessDeniedException" {
		t.Errorf("encrypting: %v", err)
	}
	blob, err := base64.StdEncoding.DecodeString(w.message("x").Ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.user().Decrypt(t.Context(), &kms.DecryptInput{CiphertextBlob: blob, EncryptionContext: direction})
	if !errors.As(err, &denied) || denied.ErrorCode() != "AccessDeniedException" {
		t.Errorf("decrypting: %v", err)
	}
}

// Decryption is allowed and encryption is not: another text, for it is another
// fault.
func TestAnswerCannotBeEncrypted(t *testing.T) {
	w := newWorld(t, roomy(nil), nil)
	m := w.message("hello")
	if err := w.kms.PutKeyPolicy(w.key, strings.Replace(w.policy(w.pcrs), "kms:Encrypt", "kms:DescribeKey", 1)); err != nil {
		t.Fatal(err)
	}
	if status, r := w.post(m); status != http.StatusBadGateway || r.Error != "the enclave could not encrypt the answer with KMS" {
		t.Errorf("HTTP %d, %q", status, r.Error)
	}
}

func TestKMSIsAway(t *testing.T) {
	w := newWorld(t, roomy(nil), nil)
	m := w.message("hello")
	w.kms.Close()
	if status, r := w.post(m); status != http.StatusOK || r.Error != blog.KMSFailure {
		t.Errorf("HTTP %d, %q", status, r.Error)
	}
}

func TestModelErrors(t *testing.T) {
	var fail error
	w := newWorld(t, inferencetest.New(inferencetest.Options{Step: func(context.Context) error { return fail }}), nil)
	for _, tt := range []struct {
		err    error
		status int
		want   string
	}{
		{inference.ErrOverloaded, 429, "the enclave has more questions waiting than it takes; try again"},
		{inference.ErrClosed, 503, "the model is not available"},
		{context.DeadlineExceeded, 504, "no answer within the deadline"},
		{errors.New("canary"), 500, "the server failed"},
		// What a model says about a KMS is not KMS's word.
		{envelope.ErrOpen, 500, "the server failed"},
	} {
		fail = tt.err
		if status, r := w.post(w.message("hello")); status != tt.status || r.Error != tt.want {
			t.Errorf("%v: HTTP %d, %q", tt.err, status, r.Error)
		}
	}
	fail = nil
	w.stillServes("errors of the model")
}

// Two questions are in the model at once; the original had one at a time.
func TestTwoAtOnce(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	w := newWorld(t, inferencetest.New(inferencetest.Options{Step: blocked(entered, release)}), nil)
	type result struct {
		printed string
		err     error
	}
	answers := [2]chan result{make(chan result, 1), make(chan result, 1)}
	for i := range answers {
		go func() {
			printed, err := w.ask(fmt.Sprintf("question %d", i))
			answers[i] <- result{printed, err}
		}()
		// The answer before is still held up.
		select {
		case <-entered:
		case r := <-answers[i]:
			t.Fatalf("question %d did not reach the model: %q, %v", i, r.printed, r.err)
		}
	}
	close(release)
	for i := range answers {
		if r := <-answers[i]; r.err != nil || r.printed != fmt.Sprintf(`{"Results": "You said: question %d"}`, i) {
			t.Errorf("%q, %v", r.printed, r.err)
		}
	}
}
