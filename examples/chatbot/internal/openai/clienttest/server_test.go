package clienttest

import (
	"context"
	"errors"
	"iter"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	chatbot "github.com/nitroseal/nitroseal/examples/chatbot/internal/openai"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

const (
	model = "echo-1"
	token = "sk-of-this-test"
)

// enclave is an Asker. A question is answered by repeating it, unless it is
//
//	fail REASON   fails at once
//	break REASON  fails after the third piece
//	hold          waits after the third piece until the client is gone
//	meet          is answered when one more "hold" has begun to wait
//
// where REASON is a wire.Reason, or "untrusted".
type enclave struct {
	model *inferencetest.Model
	asked atomic.Int32
	// untrusted counts the questions that failed with that.
	untrusted atomic.Int32
	holding   chan struct{} // one for each "hold" that waits
	ended     chan error    // what it ended with
}

func reason(name string) error {
	if name == "untrusted" {
		return attest.ErrPolicy
	}
	return wire.ParseReason(name)
}

func (e *enclave) Ask(ctx context.Context, q ask.Question) iter.Seq2[ask.Chunk, error] {
	e.asked.Add(1)
	last := q.Prompt
	if n := len(q.Messages); n > 0 {
		last = q.Messages[n-1].Content
	}
	verb, arg, _ := strings.Cut(last, " ")
	return func(yield func(ask.Chunk, error) bool) {
		if verb == "fail" {
			if arg == "untrusted" {
				e.untrusted.Add(1)
			}
			yield(ask.Chunk{}, reason(arg))
			return
		}
		if verb == "meet" {
			<-e.holding
		}
		n := 0
		for c, err := range e.model.Generate(ctx, q.Request) {
			if n++; n == 4 && verb == "break" {
				err = reason(arg)
			}
			if n == 4 && verb == "hold" {
				e.holding <- struct{}{}
				<-ctx.Done()
				err = ctx.Err()
				e.ended <- err
			}
			if err != nil {
				yield(ask.Chunk{}, err)
				return
			}
			chunk := ask.Chunk{Chunk: c}
			if c.FinishReason != "" && q.Receipt {
				chunk.Receipt = []byte("proof")
			}
			if !yield(chunk, nil) {
				return
			}
		}
	}
}

func (e *enclave) Attestation(context.Context) (*ask.Attestation, error) {
	return &ask.Attestation{
		Document:   &attest.Document{PCRs: attest.PCRs{0: attest.ZeroPCR().Extend([]byte("image"))}},
		VerifiedAt: time.Now(),
		Model:      ask.Model{Name: model, Digest: strings.Repeat("ab", 32)},
	}, nil
}

// gone waits until a question to "hold" has ended because its client
// left. The test's own deadline bounds it.
func (e *enclave) gone(t *testing.T) {
	t.Helper()
	if err := <-e.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the question ended with %v", err)
	}
}

// listen serves a fresh enclave.
func listen(t *testing.T) (e *enclave, baseURL string) {
	t.Helper()
	e = &enclave{
		model:   inferencetest.New(inferencetest.Options{Answer: func(p string) string { return p }}),
		holding: make(chan struct{}, 8), ended: make(chan error, 8),
	}
	srv := httptest.NewServer(chatbot.NewHandler(chatbot.Options{Asker: e, Token: token}))
	t.Cleanup(func() {
		srv.Close()
		e.model.Close()
	})
	return e, srv.URL + "/v1"
}
