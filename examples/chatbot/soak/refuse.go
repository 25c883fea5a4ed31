package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// refusal is something to be refused. do returns nil if it was, with the word
// that it must be, and *notRefused if not.
type refusal struct {
	what string
	do   func(context.Context, *client) error
}

// notRefused is that something was taken, or refused in another way than it must
// be.
type notRefused struct{ got string }

func (n *notRefused) Error() string { return "NOT REFUSED AS IT MUST BE: " + n.got }

// refusals are in the order in which each misbehaving client goes round.
func refusals() []refusal {
	garbage := bytes.Repeat([]byte{0xff, 0, 'N', 'S'}, 200)
	return []refusal{
		{"question of too many tokens: `prompt_too_long` of the enclave, sealed", question(strings.Repeat("why? ", 6000), wire.ReasonPromptTooLong)},
		{"ask with garbage: `bad_request` of the parent", post(sessionrpc.PathAsk, sealedType, garbage, wire.ReasonBadRequest)},
		{"garbage to the enclave's Ask: InvalidArgument", call(sessionrpc.MethodAsk, garbage, vsockrpc.InvalidArgument, "bad_request")},
		{"oversized question: refused before it is sent", question(strings.Repeat("why? ", wire.MaxQuestion/5+1), wire.ErrTooLong)},
		{"ask that is too large: `too_large` of the parent", post(sessionrpc.PathAsk, sealedType, make([]byte, session.MaxRequest+1), wire.ReasonTooLarge)},
		{"attest with garbage: `bad_request` of the enclave", post(sessionrpc.PathAttest, sealedType, garbage, wire.ReasonBadRequest)},
		{"garbage to the enclave's Attest: InvalidArgument", call(sessionrpc.MethodAttest, garbage, vsockrpc.InvalidArgument, "bad_request")},
		{"ask of another content type: `bad_request` of the parent", post(sessionrpc.PathAsk, "application/json", garbage, wire.ReasonBadRequest)},
		{"message that is too large to the enclave: ResourceExhausted", call(sessionrpc.MethodAsk, make([]byte, session.MaxRequest+1), vsockrpc.ResourceExhausted, "")},
		{"method that the enclave does not have: Unimplemented", call("nothing", garbage, vsockrpc.Unimplemented, "")},
	}
}

// misbehave sends the next thing that must be refused.
func (c *client) misbehave(ctx context.Context) {
	r := c.refusals[c.turn/2%len(c.refusals)]
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := r.do(limited, c)
	switch {
	case err == nil:
		c.tally.refuse(r.what)
	case ctx.Err() != nil: // the end of the run
	default:
		if _, ok := errors.AsType[*notRefused](err); ok {
			c.tally.mismatch(c.kind, fmt.Errorf("%s: %w", r.what, err))
		} else {
			c.tally.fail(c.kind, fmt.Errorf("%s: %w", r.what, err))
		}
	}
}

// question is one that no answer is for.
func question(text string, want error) func(context.Context, *client) error {
	q := ask.Question{Request: inference.Request{Messages: []inference.Message{{Role: inference.RoleUser, Content: text}}}}
	return func(ctx context.Context, c *client) error {
		err := exact.Receive(c.chat.Ask(ctx, q), "", nil)
		if !errors.Is(err, want) {
			return &notRefused{fmt.Sprint(err)}
		}
		return nil
	}
}

// sealedType is the content type without which the parent reads no body.
const sealedType = "application/vnd.nitroseal.session"

// maxRefusal bounds the parent's word for a refusal, in bytes.
const maxRefusal = 4 << 10

// post sends bytes of nobody's to the parent.
func post(path, contentType string, body []byte, want wire.Reason) func(context.Context, *client) error {
	return func(ctx context.Context, c *client) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.pipeline.cluster.Info().ParentURL+path, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", contentType)
		resp, err := c.pipeline.raw.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var answer wire.ErrorResponse
		got, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		if err != nil {
			return err
		}
		if json.Unmarshal(got, &answer) != nil || resp.StatusCode != want.HTTPStatus() || answer.Error.Code != want {
			return &notRefused{fmt.Sprintf("HTTP %d, %.80q", resp.StatusCode, got)}
		}
		return nil
	}
}

// call sends bytes of nobody's to the enclave itself, past the parent.
func call(method string, body []byte, code vsockrpc.Code, word string) func(context.Context, *client) error {
	return func(ctx context.Context, c *client) error {
		_, err := c.pipeline.enclave.Call(ctx, method, body)
		if e, ok := errors.AsType[*vsockrpc.Error](err); ok && e.Code == code && (word == "" || e.Message == word) {
			return nil
		}
		return &notRefused{fmt.Sprint(err)}
	}
}
