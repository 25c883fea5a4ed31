// Package service is what the chatbot runs inside the enclave: it opens a
// question with KMS by attestation, asks the model and encrypts the answer.
// Plaintext exists only between those two KMS calls, in this process's memory.
package service

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/smithy-go"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// DefaultMaxTokens is how many new tokens an answer has at most when neither
// the question nor Options say.
const DefaultMaxTokens = 256

// Options configures a Service. All fields but the last four are required.
type Options struct {
	// Model answers.
	Model inference.Model
	// Recipient holds the enclave's attested key. One serves all requests.
	Recipient *envelope.Recipient
	// NewKMS returns a KMS API for one request's credentials.
	NewKMS func(aws.CredentialsProvider) envelope.KMSAPI
	// KeyARN is the one KMS key that questions and answers are under.
	KeyARN string
	// Region is the only AWS region taken: the request must not choose where
	// the enclave connects to.
	Region string
	// MaxTokens bounds the new tokens of one answer and is the default where
	// a question gives none. 0 means DefaultMaxTokens.
	MaxTokens int
	// PCRs are the enclave's own, shown in the steps.
	PCRs attest.PCRs
	// Logger gets one record a request: outcome, sizes and time, no content.
	// nil is silent.
	Logger *slog.Logger
	// Steps, if not nil, is told of each step.
	Steps *step.Printer
}

// Service answers questions. It is safe for concurrent use.
type Service struct{ opts Options }

// New checks opts and returns a Service.
func New(opts Options) (*Service, error) {
	if opts.Model == nil || opts.Recipient == nil || opts.NewKMS == nil || opts.KeyARN == "" || opts.Region == "" {
		return nil, errors.New("service: Model, Recipient, NewKMS, KeyARN and Region are required")
	}
	if opts.MaxTokens == 0 {
		opts.MaxTokens = DefaultMaxTokens
	}
	if opts.MaxTokens < 1 || opts.MaxTokens > wire.MaxNewTokens {
		return nil, fmt.Errorf("service: MaxTokens must be 1 to %d", wire.MaxNewTokens)
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{opts}, nil
}

// Ask is the vsockrpc handler of wire.Method. Every error it returns is a
// wire.Reason, so nothing of an inner error's text leaves the enclave.
func (s *Service) Ask(ctx context.Context, body []byte) ([]byte, error) {
	start := time.Now()
	reply, err := s.ask(ctx, body)
	var reason wire.Reason
	if err != nil {
		reason = reasonOf(ctx, err)
		s.opts.Steps.Print(4, "refuse", 0, "%s", string(reason))
	}
	s.opts.Logger.Info("ask", "reason", string(reason), "bytes_in", len(body), "bytes_out", len(reply), "ms", time.Since(start).Milliseconds())
	if err != nil {
		return nil, reason.RPC()
	}
	return reply, nil
}

func (s *Service) ask(ctx context.Context, body []byte) ([]byte, error) {
	var req wire.AskRequest
	if wire.DecodeJSON(body, &req) != nil || req.Check() != nil {
		return nil, wire.ReasonBadRequest
	}
	if req.Region != s.opts.Region {
		return nil, wire.ReasonRegion
	}
	kms, err := envelope.NewClient(envelope.Options{
		KMS:       s.opts.NewKMS(credentials.NewStaticCredentialsProvider(req.AccessKeyID, req.SecretAccessKey, req.SessionToken)),
		KeyID:     s.opts.KeyARN,
		Recipient: s.opts.Recipient,
	})
	if err != nil {
		return nil, err
	}
	question, err := s.open(ctx, kms, &req)
	if err != nil {
		return nil, err
	}
	answer, err := s.infer(ctx, question)
	if err != nil {
		return nil, err
	}
	sealed, err := s.seal(ctx, kms, req.RequestID, answer)
	if err != nil {
		return nil, err
	}
	return json.Marshal(wire.AskResponse{RequestID: req.RequestID, EncryptedData: sealed})
}

// open decrypts the question: KMS releases it only to an attestation document
// whose PCRs meet the key policy, encrypted to this enclave's own key.
func (s *Service) open(ctx context.Context, kms *envelope.Client, req *wire.AskRequest) (wire.Question, error) {
	start := time.Now()
	plaintext, err := kms.Decrypt(ctx, req.Ciphertext, wire.RequestContext(req.RequestID))
	if err != nil {
		return wire.Question{}, err
	}
	defer clear(plaintext)
	question, err := wire.DecodeQuestion(plaintext)
	if err != nil {
		return wire.Question{}, wire.ReasonQuestion
	}
	s.opts.Steps.Print(4, "decrypt", time.Since(start), "KMS Decrypt by attestation (%s): %d bytes -> question of %d bytes, for this enclave's key only",
		pcrText(s.opts.PCRs), len(req.Ciphertext), len(plaintext))
	return question, nil
}

func (s *Service) infer(ctx context.Context, q wire.Question) (wire.Answer, error) {
	start := time.Now()
	limit := s.opts.MaxTokens
	if q.MaxTokens > 0 {
		limit = min(limit, q.MaxTokens)
	}
	// Leaving the loop early must also end the model's work.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text strings.Builder
	var answer wire.Answer
	var first time.Duration
	for chunk, err := range s.opts.Model.Generate(ctx, inference.Request{
		Prompt: q.Prompt, MaxTokens: limit, Temperature: q.Temperature, TopK: q.TopK, Seed: q.Seed,
	}) {
		if err != nil {
			return wire.Answer{}, err
		}
		if first == 0 {
			first = time.Since(start)
		}
		answer.CompletionTokens += len(chunk.Tokens)
		if room := wire.MaxAnswerText - text.Len(); len(chunk.Text) > room {
			for !utf8.RuneStart(chunk.Text[room]) {
				room--
			}
			text.WriteString(chunk.Text[:room])
			answer.FinishReason = wire.FinishSize
			break
		}
		text.WriteString(chunk.Text)
		if chunk.Usage != nil {
			answer.FinishReason = string(chunk.FinishReason)
			answer.PromptTokens = chunk.Usage.PromptTokens
			answer.CompletionTokens = chunk.Usage.GeneratedTokens
		}
	}
	answer.Text = text.String()
	s.opts.Steps.Print(5, "infer", time.Since(start), "%d prompt tokens -> %d new tokens (%s), first after %.1f ms",
		answer.PromptTokens, answer.CompletionTokens, answer.FinishReason, float64(first)/float64(time.Millisecond))
	return answer, nil
}

func (s *Service) seal(ctx context.Context, kms *envelope.Client, requestID string, a wire.Answer) ([]byte, error) {
	start := time.Now()
	plaintext, err := wire.EncodeAnswer(a)
	if err != nil {
		return nil, err
	}
	defer clear(plaintext)
	sealed, err := kms.Encrypt(ctx, plaintext, wire.ResponseContext(requestID))
	if err != nil {
		return nil, err
	}
	s.opts.Steps.Print(6, "encrypt", time.Since(start), "answer of %d bytes -> KMS ciphertext of %d bytes, context direction=response", len(plaintext), len(sealed))
	return sealed, nil
}

// reasonOf chooses the fixed word under which err may be told outside.
func reasonOf(ctx context.Context, err error) wire.Reason {
	var reason wire.Reason
	if errors.As(err, &reason) {
		return reason
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return wire.ReasonDeadline
	case errors.Is(err, envelope.ErrDenied):
		return wire.ReasonKMSDenied
	case errors.Is(err, envelope.ErrTooLarge), errors.Is(err, envelope.ErrEmpty):
		return wire.ReasonCiphertext
	case errors.Is(err, inference.ErrClosed):
		return wire.ReasonUnavailable
	case errors.Is(err, inference.ErrOverloaded):
		return wire.ReasonOverloaded
	case errors.Is(err, inference.ErrPromptTooLong):
		return wire.ReasonPromptTooLong
	case errors.Is(err, inference.ErrInvalidRequest):
		return wire.ReasonQuestion
	case errors.Is(err, envelope.ErrOpen), errors.Is(err, envelope.ErrKeyMismatch):
		return wire.ReasonKMSUnavailable
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException",
			"IncompleteSignatureException", "MissingAuthenticationTokenException", "InvalidClientTokenId":
			return wire.ReasonCredentials
		case "InvalidCiphertextException", "IncorrectKeyException":
			return wire.ReasonCiphertext
		}
		return wire.ReasonKMSUnavailable
	}
	var op *smithy.OperationError
	if errors.As(err, &op) {
		return wire.ReasonKMSUnavailable
	}
	return wire.ReasonInternal
}

// pcrText shows the first three PCRs, shortened for people.
func pcrText(p attest.PCRs) string {
	var b strings.Builder
	for i := range 3 {
		if i > 0 {
			b.WriteByte(' ')
		}
		h := fmt.Sprintf("%x", []byte(p[i]))
		fmt.Fprintf(&b, "PCR%d=%.12s…", i, h)
	}
	return b.String()
}
