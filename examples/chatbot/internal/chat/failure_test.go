package chat_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// instead answers requests for one path by other means than the parent's.
func instead(relay http.Handler, path string, answer http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			answer(rw, r)
			return
		}
		relay.ServeHTTP(rw, r)
	})
}

func says(status int, word string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(status)
		json.NewEncoder(rw).Encode(map[string]any{"error": map[string]string{"code": word, "message": canary}})
	}
}

// Each word of a parent is one reason, whenever it comes; what is none is an
// internal error, without its text.
func TestParentSays(t *testing.T) {
	w := newWorld(t)
	relay := w.start(enclave{model: echo()})
	for word, want := range map[string]wire.Reason{
		"bad_request": wire.ReasonBadRequest, "too_large": wire.ReasonTooLarge, "key_unknown": wire.ReasonKeyUnknown,
		"stale_request": wire.ReasonStale, "replayed": wire.ReasonReplayed, "not_opened": wire.ReasonBadRequest,
		"overloaded": wire.ReasonOverloaded, "enclave_unavailable": wire.ReasonUnavailable, "deadline_exceeded": wire.ReasonDeadline,
		"rate_limited": wire.ReasonRateLimited, "not_ready": wire.ReasonNotReady, "nsm_unavailable": wire.ReasonNSM, "parent_unavailable": wire.ReasonParent,
		"internal": wire.ReasonInternal, "method_not_allowed": wire.ReasonInternal, "canary": wire.ReasonInternal,
		// These only an enclave can know, and it seals them.
		"parent_certificate": wire.ReasonInternal, "kms_access_denied": wire.ReasonInternal, "credentials_refused": wire.ReasonInternal, "ciphertext_refused": wire.ReasonInternal,
		"kms_unavailable": wire.ReasonInternal, "form_refused": wire.ReasonInternal, "bad_question": wire.ReasonInternal, "prompt_too_long": wire.ReasonInternal,
		"": wire.ReasonInternal, "please call canary": wire.ReasonInternal,
	} {
		for _, path := range []string{sessionrpc.PathAttest, sessionrpc.PathAsk} {
			w.use(instead(relay, path, says(418, word)))
			a, err := askAll(t, w.client(nil), prompt("x"))
			if !isReason(err, want) || a.chunks != nil || strings.Contains(err.Error(), canary) {
				t.Errorf("%s, %q: %v", path, word, err)
			}
			if want == wire.ReasonInternal && !strings.Contains(err.Error(), "HTTP 418") {
				t.Errorf("%s, %q: the status is not told: %v", path, word, err)
			}
		}
	}
	w.use(instead(relay, sessionrpc.PathAsk, func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, canary, http.StatusBadGateway) }))
	if _, err := askAll(t, w.client(nil), prompt("x")); !isReason(err, wire.ReasonInternal) || strings.Contains(err.Error(), canary) {
		t.Errorf("no JSON: %v", err)
	}
}

// Each reason of the enclave's is one for the client, and no text of an enclave
// that has gone wrong is shown.
func TestEnclaveSays(t *testing.T) {
	w := newWorld(t)
	var code string // set before each question
	w.use(w.start(enclave{handler: func(*session.Enclave) sessionrpc.Handler {
		return func(context.Context, *session.Request, *session.Response) error {
			return &session.RemoteError{Code: code, Message: canary}
		}
	}}))
	c := w.client(nil)
	for _, r := range []wire.Reason{
		wire.ReasonBadRequest, wire.ReasonDeadline, wire.ReasonForm, wire.ReasonKMSDenied, wire.ReasonCredentials, wire.ReasonCiphertext,
		wire.ReasonKMSUnavailable, wire.ReasonQuestion, wire.ReasonPromptTooLong, wire.ReasonOverloaded, wire.ReasonUnavailable, wire.ReasonNSM, wire.ReasonInternal, "canary", "",
	} {
		code = string(r)
		if _, err := askAll(t, c, prompt("x")); !isReason(err, wire.ParseReason(string(r))) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v", r, err)
		}
	}
}

// An answer to an attestation that is none is no fault of the request.
func TestBadAttestation(t *testing.T) {
	w := newWorld(t)
	relay := w.start(enclave{model: echo()})
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"nothing": {func(http.ResponseWriter, *http.Request) {}, session.ErrMalformed},
		"a page":  {func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, "<html>canary") }, session.ErrMalformed},
		"endless": {func(rw http.ResponseWriter, _ *http.Request) { rw.Write(make([]byte, 1<<20)) }, session.ErrMalformed},
		"another nonce": {func(rw http.ResponseWriter, r *http.Request) {
			body := append([]byte("NSA1"), make([]byte, session.NonceSize)...)
			again := httptest.NewRequestWithContext(r.Context(), http.MethodPost, r.URL.Path, bytes.NewReader(body))
			again.Header = r.Header
			relay.ServeHTTP(rw, again)
		}, attest.ErrPolicy},
	} {
		w.use(instead(relay, sessionrpc.PathAttest, tt.answer))
		_, err := askAll(t, w.client(nil), prompt("x"))
		if reason, ok := errors.AsType[wire.Reason](err); ok || !errors.Is(err, tt.want) || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %v (%q)", name, err, string(reason))
		}
	}
	// What is attested beside the key must be of this chatbot.
	w.use(w.start(enclave{model: echo(), info: wire.Info{ModelDigest: "ab", MaxTokens: -1}}))
	if _, err := askAll(t, w.client(nil), prompt("x")); err == nil || !strings.HasPrefix(err.Error(), "wire: ") {
		t.Errorf("another info: %v", err)
	}
	// It takes questions under another KMS key, or under none.
	for _, key := range []string{"arn:aws:kms:us-east-1:111122223333:key/other", ""} {
		info := modelInfo
		info.KeyARN = key
		w.use(w.start(enclave{model: echo(), info: info}))
		if _, err := askAll(t, w.client(nil), prompt("x")); !errors.Is(err, chat.ErrKey) {
			t.Errorf("another KMS key: %v", err)
		}
	}
	if w.requests(sessionrpc.PathAsk) != 0 {
		t.Error("a question was sent")
	}
}

// What the parent does to an answer is found out; the words for it are
// session's.
func TestTamperedAnswer(t *testing.T) {
	w := newWorld(t)
	relay := w.start(enclave{model: echo()})
	changed := func(change func([]byte) []byte) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			rec := httptest.NewRecorder()
			relay.ServeHTTP(rec, r)
			rw.Write(change(rec.Body.Bytes()))
		}
	}
	// second is where the second segment begins.
	second := func(b []byte) int { return 4 + int(b[2])<<8 + int(b[3]) }
	for name, tt := range map[string]struct {
		change func([]byte) []byte
		want   error
		text   string
	}{
		"dropped":  {func([]byte) []byte { return nil }, session.ErrTruncated, ""},
		"cut":      {func(b []byte) []byte { return b[:len(b)-1] }, session.ErrTruncated, " You said: x"},
		"shorter":  {func(b []byte) []byte { return b[:second(b)] }, session.ErrTruncated, " "},
		"changed":  {func(b []byte) []byte { b[second(b)+40] ^= 1; return b }, session.ErrSegment, " "},
		"no first": {func(b []byte) []byte { return b[second(b):] }, session.ErrSegment, ""},
		"huge":     {func([]byte) []byte { return bytes.Repeat([]byte{0xff}, 8) }, session.ErrTooLarge, ""},
	} {
		w.use(instead(relay, sessionrpc.PathAsk, changed(tt.change)))
		a, err := askAll(t, w.client(nil), prompt("x"))
		if !errors.Is(err, tt.want) || a.text != tt.text {
			t.Errorf("%s: %q, %v", name, a.text, err)
		}
	}
	// What comes behind the last segment adds nothing.
	w.use(instead(relay, sessionrpc.PathAsk, changed(func(b []byte) []byte { return append(b, b[second(b):]...) })))
	if a, err := askAll(t, w.client(nil), prompt("x")); a.text != " You said: x" || err != nil && !errors.Is(err, session.ErrOrder) {
		t.Errorf("longer: %q, %v", a.text, err)
	}
}

// An enclave whose application goes wrong is not believed to have answered.
func TestHostileEnclave(t *testing.T) {
	last := wire.Chunk{Chunk: inference.Chunk{FinishReason: inference.FinishStop, Usage: &inference.Usage{}}}
	text := func(s string) wire.Chunk { return wire.Chunk{Chunk: inference.Chunk{Text: s}} }
	w := newWorld(t)
	for name, tt := range map[string]struct {
		say    []wire.Chunk
		raw    []byte
		text   string
		chunks int
	}{
		"no last chunk":       {[]wire.Chunk{text("a"), text("b")}, nil, "ab", 2},
		"nothing":             {nil, nil, "", 0},
		"a chunk behind":      {[]wire.Chunk{text("a"), last, text("b")}, nil, "a", 2},
		"two ends":            {[]wire.Chunk{text("a"), last, last}, nil, "a", 2},
		"what is no chunk":    {[]wire.Chunk{text("a")}, []byte(canary), "a", 1},
		"a message of nobody": {[]wire.Chunk{text("a")}, []byte{}, "a", 1},
	} {
		w.use(w.start(enclave{handler: func(*session.Enclave) sessionrpc.Handler {
			return func(_ context.Context, _ *session.Request, resp *session.Response) error {
				for _, c := range tt.say {
					b, err := wire.EncodeChunk(c)
					if err != nil {
						return err
					}
					if err := resp.Send(b); err != nil {
						return err
					}
				}
				if tt.raw != nil {
					return resp.Finish(tt.raw)
				}
				return nil
			}
		}}))
		a, err := askAll(t, w.client(nil), prompt("x"))
		if err == nil || a.text != tt.text || len(a.chunks) != tt.chunks || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: %q in %d chunks, %v", name, a.text, len(a.chunks), err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	w := newWorld(t)
	c := w.client(nil)
	w.front.Close()
	if _, err := askAll(t, c, prompt(canary)); !isReason(err, wire.ReasonParent) || !errors.Is(err, sessionrpc.ErrUnreachable) || strings.Contains(err.Error(), canary) {
		t.Error(err)
	}
	if _, err := c.Attestation(t.Context()); !isReason(err, wire.ReasonParent) {
		t.Error(err)
	}
}

// A context that ends is told from everything else, at each point.
func TestContextEnds(t *testing.T) {
	w := newWorld(t)
	relay := w.start(enclave{model: echo()})
	for _, path := range []string{sessionrpc.PathAttest, sessionrpc.PathAsk} {
		asked := make(chan struct{}, 1)
		w.use(instead(relay, path, func(_ http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		}))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-asked
			cancel()
		}()
		for _, err := range w.client(nil).Ask(ctx, prompt(canary)) {
			if _, ok := errors.AsType[wire.Reason](err); ok || !errors.Is(err, context.Canceled) {
				t.Errorf("%s, cancelled: %v", path, err)
			}
		}
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, err := range w.client(nil).Ask(ctx, prompt(canary)) {
		if !isReason(err, wire.ReasonDeadline) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("deadline: %v", err)
		}
	}
}

// What the user's own KMS calls are refused is not taken for the enclave's.
func TestOwnKMSFails(t *testing.T) {
	w := newWorld(t)
	w.use(w.start(enclave{model: echo()}))
	other, err := w.kms.CreateKey(keyOfNobody)
	if err != nil {
		t.Fatal(err)
	}
	c := w.client(func(o *chat.Options) {
		k, err := envelope.NewClient(envelope.Options{KMS: w.api(creds()), KeyID: other})
		if err != nil {
			t.Fatal(err)
		}
		o.KMS = k
	})
	_, err = askAll(t, c, prompt(canary))
	if _, ok := errors.AsType[wire.Reason](err); ok || !errors.Is(err, envelope.ErrDenied) || strings.Contains(fmt.Sprint(err), "secret-canary") {
		t.Error(err)
	}
	stranger := credentials.NewStaticCredentialsProvider("AKIDNOBODY", "secret-canary", "")
	c = w.client(func(o *chat.Options) {
		k, err := envelope.NewClient(envelope.Options{KMS: w.api(stranger), KeyID: o.Sign.KeyID})
		if err != nil {
			t.Fatal(err)
		}
		o.KMS = k
	})
	if _, err = askAll(t, c, prompt(canary)); !errors.Is(err, chat.ErrCredentials) || strings.Contains(fmt.Sprint(err), "secret-canary") {
		t.Errorf("credentials of nobody: %v", err)
	}
	if w.requests(sessionrpc.PathAsk) != 0 {
		t.Error("something was sent")
	}
}
