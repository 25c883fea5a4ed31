package blog

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/inference"
)

const (
	// DefaultMaxTokens is how many new tokens an answer has at most where
	// ServiceOptions do not say. The post's 20 cut the longer answers of the
	// embedded model in the middle of a sentence. That model was trained on
	// texts of at most 160 tokens, so these leave all its answers whole.
	DefaultMaxTokens = 160
	// maxMaxTokens bounds ServiceOptions.MaxTokens: a token is hardly ever
	// less than a byte, and KMS encrypts no more bytes.
	maxMaxTokens = envelope.MaxPlaintext
)

// ServiceOptions configures NewService. All fields but the last three are
// required.
type ServiceOptions struct {
	// Model answers. It gets the question as a message of the user's, so its
	// own chat template, or the plain "Question: …\nAnswer:", goes around it.
	Model inference.Model
	// Recipient holds the enclave's attested key. One serves all requests.
	Recipient *envelope.Recipient
	// NewKMS returns a KMS API for one request's credentials.
	NewKMS func(aws.CredentialsProvider) envelope.KMSAPI
	// KeyARN is the one KMS key that questions and answers are under. Give
	// this mode a key of its own.
	KeyARN string
	// Region is the only AWS region taken: a request must not choose where the
	// enclave connects to.
	Region string
	// MaxTokens bounds the new tokens of one answer; the prompt does not
	// count. At most 4,096. 0 means DefaultMaxTokens.
	MaxTokens int
	// Greedy takes the likeliest token each time, so that equal questions get
	// equal answers. The embedded model does best with it. Without it one of
	// the 5 likeliest is drawn, as in the post, with a new random seed for each
	// question.
	Greedy bool
	// Logger gets a warning when the service is made, and then one record a
	// request: outcome, sizes and time, no content. nil is silent.
	Logger *slog.Logger
}

// Service answers questions inside the enclave. It is safe for concurrent use.
type Service struct{ opts ServiceOptions }

// NewService checks opts and returns a Service.
func NewService(opts ServiceOptions) (*Service, error) {
	if opts.Model == nil || opts.Recipient == nil || opts.NewKMS == nil || opts.Region == "" {
		return nil, errors.New("blog: Model, Recipient, NewKMS and Region are required")
	}
	if opts.MaxTokens == 0 {
		opts.MaxTokens = DefaultMaxTokens
	}
	if opts.MaxTokens < 1 || opts.MaxTokens > maxMaxTokens {
		return nil, fmt.Errorf("blog: MaxTokens must be 1 to %d", maxMaxTokens)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Service{opts}
	// A key that cannot be used should be found now, not by each question.
	if _, err := s.kms(aws.AnonymousCredentials{}); err != nil {
		return nil, err
	}
	opts.Logger.Warn("insecure blog mode: questions are taken with credentials that the parent reads")
	return s, nil
}

// Ask is the vsockrpc handler of Method. Its errors have texts of a fixed list.
// A question that KMS does not decrypt is no error: the reply says it.
func (s *Service) Ask(ctx context.Context, body []byte) ([]byte, error) {
	start := time.Now()
	reply, err := s.ask(ctx, body)
	outcome := "answered"
	if err != nil {
		f := failureIn(ctx, err)
		outcome = string(f)
		if f == failKMS {
			reply, err = member("error", KMSFailure), nil
		} else {
			reply, err = nil, f.rpc()
		}
	}
	s.opts.Logger.Info("insecure blog mode: ask", "outcome", outcome,
		"bytes_in", len(body), "bytes_out", len(reply), "ms", time.Since(start).Milliseconds())
	return reply, err
}

// ask does the work. The error is a failure, or one that failureIn translates.
func (s *Service) ask(ctx context.Context, body []byte) ([]byte, error) {
	if len(body) > MaxRequest {
		return nil, failTooLarge
	}
	req, err := parseRequest(body)
	if err != nil {
		return nil, failRequest
	}
	if req.region != s.opts.Region {
		return nil, failRegion
	}
	kms, err := s.kms(credentials.NewStaticCredentialsProvider(req.accessKeyID, req.secretAccessKey, req.token))
	if err != nil {
		return nil, err
	}
	question, err := kms.Decrypt(ctx, req.ciphertext, nil)
	if err != nil {
		return nil, decryptFailure(err)
	}
	defer clear(question)
	answer, err := s.infer(ctx, string(question))
	if err != nil {
		return nil, err
	}
	plaintext := encodeResults(answer)
	defer clear(plaintext)
	sealed, err := kms.Encrypt(ctx, plaintext, nil)
	if err != nil {
		return nil, failEncrypt
	}
	return member("EncryptedData", base64.StdEncoding.EncodeToString(sealed)), nil
}

// kms returns a client of the one key, with a request's credentials. The post's
// client gives no encryption context.
func (s *Service) kms(c aws.CredentialsProvider) (*envelope.Client, error) {
	return envelope.NewClient(envelope.Options{
		KMS: s.opts.NewKMS(c), KeyID: s.opts.KeyARN, Recipient: s.opts.Recipient, AllowNoContext: true,
	})
}

// infer asks the model.
func (s *Service) infer(ctx context.Context, question string) (string, error) {
	// Leaving the loop early must also end the model's work.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text strings.Builder
	for chunk, err := range s.opts.Model.Generate(ctx, s.inferenceRequest(question)) {
		if err != nil {
			return "", err
		}
		text.WriteString(chunk.Text)
		if text.Len() > envelope.MaxPlaintext {
			break // encodeResults cuts it
		}
	}
	return strings.TrimSpace(text.String()), nil
}

func (s *Service) inferenceRequest(question string) inference.Request {
	req := inference.BlogPreset(inference.Request{
		Messages: []inference.Message{{Role: inference.RoleUser, Content: question}},
		// A base model that was not trained to stop, such as the post's,
		// goes on with a question of its own.
		Stop: []string{"\nQuestion:"},
	})
	req.MaxTokens = s.opts.MaxTokens
	if s.opts.Greedy {
		req.Temperature, req.TopK = 0, 0
		return req
	}
	var seed [4]byte
	rand.Read(seed[:]) // never fails
	req.Seed = binary.LittleEndian.Uint32(seed[:])
	return req
}

// decryptFailure keeps what KMS refused, or did wrong, apart from what failed
// in here, such as the attestation.
func decryptFailure(err error) error {
	var refused *envelope.KMSError
	if errors.As(err, &refused) {
		return failKMS
	}
	for _, e := range []error{envelope.ErrTooLarge, envelope.ErrEmpty, envelope.ErrOpen, envelope.ErrNotAttested, envelope.ErrKeyMismatch} {
		if errors.Is(err, e) {
			return failKMS
		}
	}
	return err
}

// failureIn chooses the failure under which err is told outside.
func failureIn(ctx context.Context, err error) failure {
	// A call whose time is up fails wherever it happens to be.
	if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return failDeadline
	}
	var f failure
	if errors.As(err, &f) {
		return f
	}
	for _, t := range []struct {
		is   error
		told failure
	}{
		{inference.ErrPromptTooLong, failTooLong},
		{inference.ErrInvalidRequest, failQuestion},
		{inference.ErrOverloaded, failOverloaded},
		{inference.ErrClosed, failModel},
	} {
		if errors.Is(err, t.is) {
			return t.told
		}
	}
	return failInternal
}
