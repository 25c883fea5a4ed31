package chat_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// A receipt comes as a file that others can verify, about what was asked and
// not about what became of it on the way.
func TestReceipt(t *testing.T) {
	info := modelInfo
	info.Lowercase = true
	w := newWorld(t)
	w.use(w.start(enclave{model: echo(), info: info}))
	q := ask.Question{Receipt: true, Request: inference.Request{
		Messages:   []inference.Message{{Role: inference.RoleSystem, Content: "Be Kind"}, {Role: inference.RoleUser, Content: "Who?"}},
		CacheScope: "mine", PublicPrefix: 1, Temperature: 0.7, MaxTokens: 1000, Stop: []string{"zz"},
	}}
	a, err := askAll(t, w.client(nil), q)
	if err != nil || a.text != " You said: who?" {
		t.Fatalf("%q, %v", a.text, err)
	}
	for i, c := range a.chunks {
		if (c.Receipt != nil) != (i == len(a.chunks)-1) {
			t.Errorf("chunk %d of %d: a receipt of %d bytes", i, len(a.chunks), len(c.Receipt))
		}
	}
	f, err := wire.ParseReceiptFile(a.last().Receipt)
	if err != nil {
		t.Fatal(err)
	}
	if f.Answer != a.text || f.FinishReason != inference.FinishStop || f.ModelDigest != info.ModelDigest || f.Request.Messages[1].Content != "who?" || f.Request.MaxTokens != 1000 ||
		f.Request.CacheScope != "" || f.Request.PublicPrefix != 0 || bytes.Contains(a.last().Receipt, []byte("mine")) {
		t.Errorf("the file is about %+v", f.Request)
	}
	if r, err := f.Verify(w.trust()); err != nil || !r.Document.PCRs[0].Equal(w.pcrs[0]) {
		t.Error(err)
	}
}

// forged answers "yes" with a receipt of its own making.
func forged(receipt func(*session.Enclave, session.Claims) ([]byte, error), claims session.Claims) func(*session.Enclave) sessionrpc.Handler {
	return func(e *session.Enclave) sessionrpc.Handler {
		return func(_ context.Context, _ *session.Request, resp *session.Response) error {
			made, err := receipt(e, claims)
			if err != nil {
				return err
			}
			first, err := wire.EncodeChunk(wire.Chunk{Chunk: inference.Chunk{Text: "yes"}})
			if err != nil {
				return err
			}
			last, err := wire.EncodeChunk(wire.Chunk{Receipt: made, Chunk: inference.Chunk{FinishReason: inference.FinishStop, Usage: &inference.Usage{}}})
			if err != nil {
				return err
			}
			if err := resp.Send(first); err != nil {
				return err
			}
			return resp.Finish(last)
		}
	}
}

// A receipt that does not prove the answer fails the question, which asked for
// one.
func TestForgedReceipt(t *testing.T) {
	w := newWorld(t)
	q := ask.Question{Receipt: true, Request: inference.Request{Prompt: "x"}}
	claims := func(prompt, answer string, finish inference.FinishReason, digest string) session.Claims {
		c, err := wire.Claims(&inference.Request{Prompt: prompt}, answer, finish, digest)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	honest := func(e *session.Enclave, c session.Claims) ([]byte, error) { return e.Receipt(t.Context(), c) }
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: w.pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	stranger, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, KEM: session.X25519})
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	for name, tt := range map[string]struct {
		receipt func(*session.Enclave, session.Claims) ([]byte, error)
		claims  session.Claims
		want    error // nil: it is right
	}{
		"right":            {honest, claims("x", "yes", inference.FinishStop, modelInfo.ModelDigest), nil},
		"another question": {honest, claims("y", "yes", inference.FinishStop, modelInfo.ModelDigest), session.ErrReceipt},
		"another answer":   {honest, claims("x", "no", inference.FinishStop, modelInfo.ModelDigest), session.ErrReceipt},
		"another end":      {honest, claims("x", "yes", inference.FinishLength, modelInfo.ModelDigest), session.ErrReceipt},
		"another model":    {honest, claims("x", "yes", inference.FinishStop, strings.Repeat("ac", 32)), session.ErrReceipt},
		"none":             {func(*session.Enclave, session.Claims) ([]byte, error) { return nil, nil }, session.Claims{}, session.ErrReceipt},
		"rubbish":          {func(*session.Enclave, session.Claims) ([]byte, error) { return []byte("NSP1 canary"), nil }, session.Claims{}, session.ErrReceipt},
		"of a stranger": {func(_ *session.Enclave, c session.Claims) ([]byte, error) { return stranger.Receipt(t.Context(), c) },
			claims("x", "yes", inference.FinishStop, modelInfo.ModelDigest), attest.ErrUntrusted},
	} {
		w.use(w.start(enclave{handler: forged(tt.receipt, tt.claims)}))
		a, err := askAll(t, w.client(nil), q)
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (a.text != "yes" || len(a.chunks) != 1 || strings.Contains(err.Error(), canary)) {
			t.Errorf("%s: %d chunks, %v", name, len(a.chunks), err)
		}
	}
	// Nobody who did not ask for a receipt is bothered with one.
	w.use(w.start(enclave{handler: forged(honest, claims("y", "no", inference.FinishStop, ""))}))
	if a, err := askAll(t, w.client(nil), prompt("x")); err != nil || a.last().Receipt != nil {
		t.Error(err)
	}
}
