package blog

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// attester stands for a device that no test here asks anything.
type attester struct{}

func (attester) Attest(context.Context, attest.Request) ([]byte, error) {
	return []byte("document"), nil
}

func goodOptions(t *testing.T) ServiceOptions {
	t.Helper()
	recipient, err := envelope.NewRecipient(t.Context(), envelope.RecipientOptions{Attester: attester{}})
	if err != nil {
		t.Fatal(err)
	}
	return ServiceOptions{
		Model: inferencetest.New(inferencetest.Options{}), Recipient: recipient, Region: "us-east-1",
		KeyARN: "arn:aws:kms:us-east-1:111122223333:key/1",
		NewKMS: func(aws.CredentialsProvider) envelope.KMSAPI { return kms.New(kms.Options{Region: "us-east-1"}) },
	}
}

func TestServiceOptions(t *testing.T) {
	base := goodOptions(t)
	if _, err := NewService(base); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*ServiceOptions){
		"no model":     func(o *ServiceOptions) { o.Model = nil },
		"no recipient": func(o *ServiceOptions) { o.Recipient = nil },
		"no KMS":       func(o *ServiceOptions) { o.NewKMS = nil },
		"nil KMS":      func(o *ServiceOptions) { o.NewKMS = func(aws.CredentialsProvider) envelope.KMSAPI { return nil } },
		"no key":       func(o *ServiceOptions) { o.KeyARN = "" },
		"an alias":     func(o *ServiceOptions) { o.KeyARN = "alias/chatbot" },
		"no region":    func(o *ServiceOptions) { o.Region = "" },
		"negative":     func(o *ServiceOptions) { o.MaxTokens = -1 },
		"too many":     func(o *ServiceOptions) { o.MaxTokens = 4097 },
	} {
		opts := base
		spoil(&opts)
		if s, err := NewService(opts); err == nil || s != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// The sampling is the post's, with a seed of its own for each question.
func TestSampling(t *testing.T) {
	s, err := NewService(goodOptions(t))
	if err != nil {
		t.Fatal(err)
	}
	r := s.inferenceRequest("why?")
	if r.Temperature != 1 || r.TopK != 5 || r.TopP != 0 || r.MinP != 0 || r.MaxTokens != DefaultMaxTokens || r.CacheScope != "" ||
		len(r.Messages) != 1 || r.Messages[0] != (inference.Message{Role: inference.RoleUser, Content: "why?"}) {
		t.Errorf("%+v", r)
	}
	seeds := map[uint32]bool{}
	for range 8 {
		seeds[s.inferenceRequest("why?").Seed] = true
	}
	if len(seeds) < 7 {
		t.Errorf("%d seeds in 8 questions", len(seeds))
	}
	s.opts.Greedy, s.opts.MaxTokens = true, 7
	if r := s.inferenceRequest("why?"); r.Temperature != 0 || r.TopK != 0 || r.Seed != 0 || r.MaxTokens != 7 {
		t.Errorf("greedy: %+v", r)
	}
}

// What KMS refuses or gets wrong has the original's text; what fails in the
// enclave, such as its attestation, has not.
func TestDecryptFailure(t *testing.T) {
	device := errors.New("the device is busy")
	for err, want := range map[error]failure{
		&envelope.KMSError{Op: "Decrypt", Err: device}: failKMS,
		envelope.ErrTooLarge:                           failKMS,
		envelope.ErrOpen:                               failKMS,
		envelope.ErrNotAttested:                        failKMS,
		envelope.ErrKeyMismatch:                        failKMS,
		device:                                         failInternal,
		envelope.ErrNoRecipient:                        failInternal,
		fmt.Errorf("attesting: %w", context.DeadlineExceeded): failDeadline,
	} {
		if got := failureIn(t.Context(), decryptFailure(fmt.Errorf("wrapped: %w", err))); got != want {
			t.Errorf("%v: %s", err, got)
		}
	}
}

// A call that is over has no time left, whatever its last error was.
func TestEndedCall(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if f := failureIn(ctx, failKMS); f != failDeadline {
		t.Error(f)
	}
}
