package openai

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// hidden wraps an error in text that must not be told.
func hidden(err error) error { return fmt.Errorf("%s: %w", canary, err) }

// failures is every error of an Asker, and what becomes of it. Retry is what
// client libraries do by themselves: they go by the status and X-Should-Retry.
var failures = []struct {
	err        error
	status     int
	kind, code string
	retryAfter string
	final      bool
}{
	{wire.ReasonBadRequest, 502, typeServer, "bad_request", "", true},
	{wire.ReasonTooLarge, 413, typeRequest, "too_large", "", false},
	{wire.ReasonCertificate, 502, typeServer, "parent_certificate", "", true},
	{wire.ReasonUnavailable, 503, typeServer, "enclave_unavailable", "", true},
	{wire.ReasonDeadline, 504, typeServer, "deadline_exceeded", "", true},
	{wire.ReasonOverloaded, 429, typeRate, "overloaded", "1", false},
	{wire.ReasonRateLimited, 429, typeRate, "rate_limited", "5", false},
	{wire.ReasonNotReady, 503, typeServer, "not_ready", "1", false},
	{wire.ReasonNSM, 503, typeServer, "nsm_unavailable", "", true},
	{wire.ReasonKeyUnknown, 409, typeServer, "key_unknown", "", true},
	{wire.ReasonReplayed, 409, typeServer, "replayed", "", true},
	{wire.ReasonStale, 502, typeServer, "stale_request", "", true},
	{wire.ReasonForm, 502, typeServer, "form_refused", "", true},
	{wire.ReasonParent, 503, typeServer, "parent_unavailable", "", true},
	{wire.ReasonKMSDenied, 403, typePermission, "kms_access_denied", "", false},
	{wire.ReasonCredentials, 403, typePermission, "credentials_refused", "", false},
	{wire.ReasonCiphertext, 502, typeServer, "ciphertext_refused", "", true},
	{wire.ReasonKMSUnavailable, 502, typeServer, "kms_unavailable", "", false},
	{wire.ReasonQuestion, 400, typeRequest, "bad_question", "", false},
	{wire.ReasonPromptTooLong, 400, typeRequest, "context_length_exceeded", "", false},
	{wire.ReasonInternal, 500, typeServer, "internal", "", true},
	{wire.Reason(canary), 500, typeServer, "internal", "", true},

	{attest.ErrPolicy, 502, typeUntrusted, "attestation_policy", "", true},
	{&attest.PolicyError{Rule: "measurement"}, 502, typeUntrusted, "attestation_policy", "", true},
	{attest.ErrUntrusted, 502, typeUntrusted, "attestation_chain", "", true},
	{&attest.ExpiredError{}, 502, typeUntrusted, "attestation_expired", "", true},
	{attest.ErrSignature, 502, typeUntrusted, "attestation_signature", "", true},
	{attest.ErrMalformed, 502, typeUntrusted, "attestation_malformed", "", true},
	{session.ErrConfig, 502, typeUntrusted, "key_not_attested", "", true},
	{chat.ErrModel, 502, typeUntrusted, "model_refused", "", true},
	{chat.ErrKey, 502, typeUntrusted, "key_refused", "", true},
	{chat.ErrCredentials, 403, typePermission, "own_credentials_refused", "", false},
	{session.ErrSegment, 502, typeUntrusted, "answer_not_authentic", "", true},
	{session.ErrOrder, 502, typeUntrusted, "answer_not_authentic", "", true},
	{session.ErrReceipt, 502, typeUntrusted, "receipt_refused", "", true},
	// What is not to be trusted is so whatever else it is.
	{errors.Join(wire.ReasonOverloaded, attest.ErrPolicy), 502, typeUntrusted, "attestation_policy", "", true},

	{session.ErrTruncated, 502, typeServer, "answer_incomplete", "", true},
	{session.ErrConfigExpired, 409, typeServer, "key_unknown", "", true},
	{session.ErrKeyUnknown, 409, typeServer, "key_unknown", "", true},
	{session.ErrStale, 502, typeServer, "stale_request", "", true},
	{session.ErrReplayed, 409, typeServer, "replayed", "", true},
	{session.ErrBusy, 429, typeRate, "overloaded", "1", false},
	{session.ErrClosed, 503, typeServer, "not_ready", "1", false},
	{session.ErrMalformed, 502, typeServer, "answer_malformed", "", false},
	{session.ErrOpen, 502, typeServer, "bad_request", "", true},
	{session.ErrTooLarge, 413, typeRequest, "too_large", "", false},
	{&session.RemoteError{Code: "prompt_too_long", Message: canary}, 400, typeRequest, "context_length_exceeded", "", false},
	{&session.RemoteError{Code: canary, Message: canary}, 500, typeServer, "internal", "", true},

	{wire.ErrEmpty, 400, typeRequest, "empty_question", "", false},
	{wire.ErrNotUTF8, 400, typeRequest, "invalid_utf8", "", false},
	{wire.ErrTooLong, 400, typeRequest, "question_too_long", "", false},
	{&inference.RequestError{Field: "Grammar", Reason: canary, Err: inference.ErrInvalidRequest}, 400, typeRequest, "bad_question", "", false},
	{inference.ErrPromptTooLong, 400, typeRequest, "context_length_exceeded", "", false},
	{inference.ErrOverloaded, 429, typeRate, "overloaded", "1", false},
	{inference.ErrClosed, 503, typeServer, "not_ready", "1", false},
	{context.DeadlineExceeded, 504, typeServer, "deadline_exceeded", "", true},
	{context.Canceled, 503, typeServer, "not_ready", "1", false},
	{envelope.ErrDenied, 403, typePermission, "own_kms_access_denied", "", false},
	{&envelope.KMSError{Op: "Encrypt", Err: errors.New(canary)}, 502, typeServer, "own_kms_failed", "", false},
	{errors.New(canary), 500, typeServer, "internal", "", true},
}

// TestFailures has each error in each place where it can come up: there is no
// attestation, no answer, or an end in the middle of one.
func TestFailures(t *testing.T) {
	for _, tt := range failures {
		log, logged := logger()
		for name, a := range map[string]*asker{
			"attestation": {attErr: hidden(tt.err)},
			"question":    {err: hidden(tt.err)},
			"answer":      {chunks: []ask.Chunk{text(canary)}, err: hidden(tt.err)},
			"last chunk":  {chunks: []ask.Chunk{text(canary), end(inference.FinishStop)}, err: hidden(tt.err)},
		} {
			w := serve(Options{Asker: a, Logger: log}, request(http.MethodPost, chatPath, chatBody("")))
			body := w.Body.String()
			if w.Code != tt.status || w.Header().Get("Retry-After") != tt.retryAfter || (w.Header().Get("X-Should-Retry") == "false") != tt.final {
				t.Errorf("%v, %s: HTTP %d, %v", tt.err, name, w.Code, w.Header())
			}
			if !strings.Contains(body, `"type":"`+tt.kind+`"`) {
				t.Errorf("%v, %s: %s", tt.err, name, body)
			}
			if code, _ := refusal(t, w); code != tt.code {
				t.Errorf("%v, %s: %s, want %s", tt.err, name, code, tt.code)
			}
			if strings.Contains(body, canary) {
				t.Errorf("%v, %s: tells the inner text, or a part of the answer: %s", tt.err, name, body)
			}
		}
		if strings.Contains(logged.String(), canary) || strings.Count(logged.String(), `"code":"`+tt.code+`"`) != 4 {
			t.Errorf("%v: logged %s", tt.err, logged)
		}
		w := serve(Options{Asker: &asker{attErr: hidden(tt.err)}}, request(http.MethodGet, "/v1/models", ""))
		if code, _ := refusal(t, w); w.Code != tt.status || code != tt.code {
			t.Errorf("%v, models: HTTP %d, %s", tt.err, w.Code, code)
		}
	}
}

// A stream that has begun has sent its status: the error is an event, and the
// last one.
func TestFailuresInStreams(t *testing.T) {
	for _, tt := range failures {
		a := &asker{chunks: []ask.Chunk{text("He"), text("l")}, err: hidden(tt.err)}
		w := post(a, chatPath, chatBody(`,"stream":true`))
		events := strings.Split(strings.TrimSuffix(w.Body.String(), "\n\n"), "\n\n")
		if w.Code != http.StatusOK || len(events) != 4 {
			t.Errorf("%v: HTTP %d, %d events", tt.err, w.Code, len(events))
			continue
		}
		want := fmt.Sprintf("event: error\ndata: {\"error\":{\"message\":%q,\"type\":%q,\"param\":null,\"code\":%q}}", failure(tt.err).message, tt.kind, tt.code)
		if events[3] != want {
			t.Errorf("%v: %s", tt.err, events[3])
		}
		if strings.Contains(w.Body.String(), canary) || strings.Contains(w.Body.String(), "[DONE]") || strings.Contains(w.Body.String(), `"finish_reason":"`) {
			t.Errorf("%v: %s", tt.err, w.Body)
		}

		// Before the first piece it has not.
		w = post(&asker{err: hidden(tt.err)}, chatPath, chatBody(`,"stream":true`))
		if code, _ := refusal(t, w); w.Code != tt.status || code != tt.code {
			t.Errorf("%v, before the first piece: HTTP %d, %s", tt.err, w.Code, code)
		}
	}
}

// Half an answer is never passed off as a whole one, whatever an Asker does.
func TestBrokenAskers(t *testing.T) {
	noUsage := end(inference.FinishStop)
	noUsage.Usage = nil
	for name, chunks := range map[string][]ask.Chunk{
		"nothing":         nil,
		"no end":          {text("a")},
		"no usage":        {text("a"), noUsage},
		"after the end":   {text("a"), end(inference.FinishStop), text("b")},
		"ends twice":      {end(inference.FinishStop), end(inference.FinishStop)},
		"nothing in that": {ask.Chunk{}},
	} {
		w := post(&asker{chunks: chunks}, chatPath, chatBody(""))
		if code, _ := refusal(t, w); w.Code != http.StatusBadGateway || code != "answer_incomplete" {
			t.Errorf("%s: HTTP %d, %s", name, w.Code, code)
		}
		w = post(&asker{chunks: chunks}, chatPath, chatBody(`,"stream":true`))
		if body := w.Body.String(); !strings.Contains(body, `"code":"answer_incomplete"`) || strings.Contains(body, "[DONE]") || strings.Contains(body, `"finish_reason":"`) {
			t.Errorf("%s, streamed: %s", name, body)
		}
	}
}
