// Package service is what the chatbot runs inside the enclave: it opens a
// question with KMS, by attestation, asks the model and seals the answer token
// by token to the client. Plaintext exists in this process's memory only.
package service

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// DefaultMaxTokens is how many new tokens an answer has at most when neither
// the question nor Options say.
const DefaultMaxTokens = 256

// Options configures a Service.
type Options struct {
	// Model answers. Required.
	Model inference.Model
	// Data opens questions: which forms are taken is its to say.
	Data session.DataOpener
	// Receipt makes receipts; session.Enclave has such a method. nil refuses
	// questions that ask for one.
	Receipt func(context.Context, session.Claims) ([]byte, error)
	// MaxTokens bounds the new tokens of one answer and is the default where
	// a question gives none. 0 means DefaultMaxTokens.
	MaxTokens int
	// PCRs are the enclave's own, shown in the steps.
	PCRs attest.PCRs
	// Logger gets one record a question: outcome, sizes and time, no content.
	// nil is silent.
	Logger *slog.Logger
	// Steps, if not nil, is told of each step.
	Steps *step.Printer
}

// Service answers questions. It is safe for concurrent use.
type Service struct {
	opts        Options
	modelDigest string
}

// New checks opts and returns a Service.
func New(opts Options) (*Service, error) {
	if opts.Model == nil {
		return nil, errors.New("service: Model is required")
	}
	if opts.MaxTokens == 0 {
		opts.MaxTokens = DefaultMaxTokens
	}
	if opts.MaxTokens < 1 {
		return nil, errors.New("service: MaxTokens is negative")
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Service{opts, opts.Model.Info().Digest}, nil
}

// Answer is the sessionrpc.Handler of questions. Every error is a
// *session.RemoteError whose code is a wire.Reason, so nothing of an inner
// error's text leaves the enclave, not even to the client.
func (s *Service) Answer(ctx context.Context, req *session.Request, resp *session.Response) error {
	start := time.Now()
	in := len(req.Payload)
	var out int
	err := s.answer(ctx, req, func(chunk wire.Chunk, last bool) error {
		message, err := wire.EncodeChunk(chunk)
		if err != nil {
			return err
		}
		defer clear(message)
		out += len(message)
		if last {
			return resp.Finish(message)
		}
		return resp.Send(message)
	})
	var reason wire.Reason
	if err != nil {
		reason = reasonOf(ctx, err)
		s.opts.Steps.Print(4, "refuse", 0, "%s", string(reason))
	}
	s.opts.Logger.Info("ask", "reason", string(reason), "bytes_in", in, "bytes_out", out, "ms", time.Since(start).Milliseconds())
	if err != nil {
		return &session.RemoteError{Code: string(reason), Message: reason.Error()}
	}
	return nil
}

type sendFunc func(chunk wire.Chunk, last bool) error

func (s *Service) answer(ctx context.Context, req *session.Request, send sendFunc) error {
	question, err := s.open(ctx, req)
	if err != nil {
		return err
	}
	if question.Receipt && s.opts.Receipt == nil {
		return wire.ReasonQuestion
	}
	return s.infer(ctx, question, send)
}

// open decrypts the question: KMS releases it only to an attestation document
// whose PCRs meet the key policy, encrypted to this enclave's own key.
func (s *Service) open(ctx context.Context, req *session.Request) (wire.Question, error) {
	start := time.Now()
	defer clear(req.Payload)
	data, err := session.DecodeData(req.Payload)
	if err != nil {
		return wire.Question{}, wire.ReasonBadRequest
	}
	defer clear(data.Plain)
	if reason := unsendable(data); reason != "" {
		return wire.Question{}, reason
	}
	plaintext, err := s.opts.Data.Open(ctx, data, wire.RequestContext(req.ID.String()))
	if err != nil {
		return wire.Question{}, err
	}
	defer clear(plaintext)
	question, err := wire.DecodeQuestion(plaintext)
	if err != nil {
		return wire.Question{}, wire.ReasonQuestion
	}
	s.opts.Steps.Print(4, "open", time.Since(start), "%s (%s): %d bytes sealed -> question of %d bytes",
		howOpened(data), pcrText(s.opts.PCRs), len(data.Sealed)+len(data.Plain), len(plaintext))
	return question, nil
}

func howOpened(d session.Data) string {
	switch {
	case d.Signed != nil:
		return "KMS Decrypt by attestation, as the client signed it"
	case d.Credentials != nil:
		return "KMS Decrypt by attestation, with the client's credentials"
	}
	return "session only, no KMS"
}

func (s *Service) infer(ctx context.Context, q wire.Question, send sendFunc) error {
	start := time.Now()
	asked := q.Request // as the client knows it, for the receipt
	req := q.Request
	req.MaxTokens = s.opts.MaxTokens
	if n := asked.MaxTokens; n > 0 {
		req.MaxTokens = min(n, s.opts.MaxTokens)
	}
	if len(q.Scope) > 0 {
		req.CacheScope = hex.EncodeToString(q.Scope)
	}
	// Leaving the loop early must also end the model's work.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var text strings.Builder
	var first, took time.Duration
	for chunk, err := range s.opts.Model.Generate(ctx, req) {
		if err != nil {
			return err
		}
		if first == 0 {
			first = time.Since(start)
		}
		if q.Receipt {
			text.WriteString(chunk.Text)
		}
		out := wire.Chunk{Chunk: chunk}
		last := chunk.FinishReason != ""
		if last != (chunk.Usage != nil) {
			return errors.New("service: the model ended without saying both why and its usage")
		}
		if last {
			took = time.Since(start)
			if q.Receipt {
				if out.Receipt, err = s.receipt(ctx, &asked, text.String(), chunk.FinishReason); err != nil {
					return err
				}
			}
		} else if chunk.Text == "" && len(chunk.Tokens) == 0 {
			continue
		}
		if err := send(out, last); err != nil {
			return err
		}
		if last {
			s.opts.Steps.Print(5, "infer", took, "%d prompt tokens (%d of them known) -> %d new tokens (%s), first after %.1f ms",
				chunk.Usage.PromptTokens, chunk.Usage.CachedTokens, chunk.Usage.GeneratedTokens, chunk.FinishReason, float64(first)/float64(time.Millisecond))
			return nil
		}
	}
	return errors.New("service: the model ended without a last chunk")
}

func (s *Service) receipt(ctx context.Context, asked *inference.Request, answer string, finish inference.FinishReason) ([]byte, error) {
	claims, err := wire.Claims(asked, answer, finish, s.modelDigest)
	if err != nil {
		return nil, err
	}
	defer clear(claims.Request)
	defer clear(claims.Response)
	return s.opts.Receipt(ctx, claims)
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
