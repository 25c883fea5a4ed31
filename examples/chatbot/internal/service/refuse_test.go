package service_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/inferencetest"
)

// raw is a payload that is sent as it is.
func raw(b []byte) session.PayloadFunc {
	return func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		return bytes.Clone(b), nil
	}
}

// expect asks what must be refused, checks that nothing but the reason came,
// that the payload is gone, and that the service serves on.
func (w *world) expect(name string, p session.PayloadFunc, want wire.Reason) {
	w.t.Helper()
	a, err := w.ask(p)
	refused(w.t, name, err, want)
	if a.text != "" || a.chunks != 0 {
		w.t.Errorf("%s: a part of an answer: %q", name, a.text)
	}
	if a.after != 0 {
		w.t.Errorf("%s: the payload was not erased", name)
	}
	if !strings.Contains(w.log.String(), "reason="+string(want)) || !strings.Contains(w.steps.String(), "refuse    "+string(want)) {
		w.t.Errorf("%s: log and steps do not say %s", name, want)
	}
	w.silent(name)
}

func TestRefusals(t *testing.T) {
	m := inferencetest.New(inferencetest.Options{MaxTokens: 100})
	w := newWorld(t, options{Options: service.Options{Model: m}, noReceipts: true})
	// spoilt is good data with something wrong.
	spoilt := func(change func(*session.Data)) session.PayloadFunc {
		return payload(question(canary), func(ctx context.Context, e *session.Established, id session.RequestID, encoded []byte) (session.Data, error) {
			d, err := w.signed(ctx, e, id, encoded)
			if err == nil {
				change(&d)
			}
			return d, err
		})
	}
	// signedAs is sealed and signed by other means than the world's.
	signedAs := func(key string, change func(*envelope.SignOptions), ec func(id session.RequestID) envelope.EncryptionContext, content []byte) session.PayloadFunc {
		return payload(question(canary), func(ctx context.Context, e *session.Established, id session.RequestID, encoded []byte) (session.Data, error) {
			sign := w.sign()
			sign.KeyID = key
			if change != nil {
				change(&sign)
			}
			if content != nil {
				encoded = content
			}
			return session.SealData(ctx, w.sealer(key), sign, ec(id), encoded, e.Raw)
		})
	}
	right := func(id session.RequestID) envelope.EncryptionContext { return wire.RequestContext(id.String()) }
	receipt := question(canary)
	receipt.Receipt = true
	long, err := wire.EncodeQuestion(question(strings.Repeat("x", 200)))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		p    session.PayloadFunc
		want wire.Reason
	}{
		{"no data", raw([]byte(canary)), wire.ReasonBadRequest},
		{"nothing", raw(nil), wire.ReasonBadRequest},
		{"plain data", payload(question(canary), plain), wire.ReasonForm},
		{"credentials", payload(question(canary), w.withCredentials), wire.ReasonForm},
		{"another request's context", signedAs(w.key, nil, func(session.RequestID) envelope.EncryptionContext {
			return wire.RequestContext(strings.Repeat("0", 32))
		}, nil), wire.ReasonCiphertext},
		{"a larger context", signedAs(w.key, nil, func(id session.RequestID) envelope.EncryptionContext {
			ec := right(id)
			ec["more"] = "x"
			return ec
		}, nil), wire.ReasonCiphertext},
		{"another key", signedAs(w.foreign, nil, right, nil), wire.ReasonCiphertext},
		{"changed ciphertext", spoilt(func(d *session.Data) { d.Sealed[len(d.Sealed)-1] ^= 1 }), wire.ReasonCiphertext},
		{"cut ciphertext", spoilt(func(d *session.Data) { d.Sealed = d.Sealed[:len(d.Sealed)-1] }), wire.ReasonCiphertext},
		{"no ciphertext", spoilt(func(d *session.Data) { d.Sealed = []byte(canary) }), wire.ReasonCiphertext},
		{"another host", spoilt(func(d *session.Data) { d.Signed.Host = "attacker.example" }), wire.ReasonForm},
		{"another operation", spoilt(func(d *session.Data) { d.Signed.Header["X-Amz-Target"] = "TrentService.Encrypt" }), wire.ReasonForm},
		{"no signed request", spoilt(func(d *session.Data) { d.Signed.Body = []byte(canary) }), wire.ReasonForm},
		{"forged signature", spoilt(func(d *session.Data) {
			h := d.Signed.Header["Authorization"]
			d.Signed.Header["Authorization"] = h[:len(h)-4] + "0000"
		}), wire.ReasonCredentials},
		{"expired signature", signedAs(w.key, func(o *envelope.SignOptions) {
			o.Clock = func() time.Time { return time.Now().Add(-time.Hour) }
		}, right, nil), wire.ReasonCredentials},
		{"unknown principal", signedAs(w.key, func(o *envelope.SignOptions) { o.Credentials = credsOf(account + "nobody") }, right, nil), wire.ReasonCredentials},
		{"no question", signedAs(w.key, nil, right, []byte(canary)), wire.ReasonQuestion},
		{"a receipt where there are none", payload(receipt, w.signed), wire.ReasonQuestion},
		{"a long prompt", signedAs(w.key, nil, right, long), wire.ReasonPromptTooLong},
	} {
		w.expect(tt.name, tt.p, tt.want)
		w.good(tt.name)
	}
}

// KMS decides by the measurements: its word is told apart from other failures.
func TestKMSDenies(t *testing.T) {
	g, err := sharedGround()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, options{Options: service.Options{Model: echo()}, key: g.foreign, takeCredentials: true})
	w.expect("signed", payload(question(canary), w.signed), wire.ReasonKMSDenied)
	w.expect("with credentials", payload(question(canary), w.withCredentials), wire.ReasonKMSDenied)
}

// Credentials that are not the enclave's do not help.
func TestBadCredentials(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: echo()}, takeCredentials: true})
	for name, tt := range map[string]struct {
		change func(*session.Credentials)
		want   wire.Reason
	}{
		"wrong secret": {func(c *session.Credentials) { c.SecretAccessKey = canary }, wire.ReasonCredentials},
		"wrong token":  {func(c *session.Credentials) { c.SessionToken = canary }, wire.ReasonCredentials},
		"unknown":      {func(c *session.Credentials) { c.AccessKeyID = "AKnobody" }, wire.ReasonCredentials},
	} {
		w.expect(name, payload(question(canary), func(ctx context.Context, e *session.Established, id session.RequestID, encoded []byte) (session.Data, error) {
			d, err := w.withCredentials(ctx, e, id, encoded)
			tt.change(d.Credentials)
			return d, err
		}), tt.want)
		w.good(name)
	}
}

// fails is an answer of KMS that is an error.
func fails(status int, code string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("X-Amzn-Errortype", code)
		rw.WriteHeader(status)
		io.WriteString(rw, `{"__type":"`+code+`","message":"canary"}`)
	}
}

// Whatever KMS or the way to it does, the client gets a word, and the next
// question is answered.
func TestKMSFails(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: echo()}, takeCredentials: true})
	for name, tt := range map[string]struct {
		fault http.HandlerFunc
		want  wire.Reason
	}{
		"cuts the connection": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, wire.ReasonKMSUnavailable},
		"500":                 {fails(500, "KMSInternalException"), wire.ReasonKMSUnavailable},
		"503 without a code":  {func(rw http.ResponseWriter, _ *http.Request) { http.Error(rw, canary, http.StatusServiceUnavailable) }, wire.ReasonKMSUnavailable},
		"throttles":           {fails(400, "ThrottlingException"), wire.ReasonKMSUnavailable},
		"key disabled":        {fails(400, "DisabledException"), wire.ReasonKMSUnavailable},
		"denies":              {fails(400, "AccessDeniedException"), wire.ReasonKMSDenied},
		"expired token":       {fails(400, "ExpiredTokenException"), wire.ReasonCredentials},
		"bad ciphertext":      {fails(400, "InvalidCiphertextException"), wire.ReasonCiphertext},
		"another key":         {fails(400, "IncorrectKeyException"), wire.ReasonCiphertext},
		"no JSON":             {func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, canary) }, wire.ReasonKMSUnavailable},
		"in plaintext": {func(rw http.ResponseWriter, r *http.Request) {
			w.tamper(rw, r, func(out map[string]any) { out["Plaintext"] = bytes.Repeat([]byte(canary), 6)[:32] })
		}, wire.ReasonKMSUnavailable},
		"for nobody": {func(rw http.ResponseWriter, r *http.Request) {
			w.tamper(rw, r, func(out map[string]any) { out["CiphertextForRecipient"] = []byte(canary) })
		}, wire.ReasonKMSUnavailable},
		"by another key": {func(rw http.ResponseWriter, r *http.Request) {
			w.tamper(rw, r, func(out map[string]any) { out["KeyId"] = w.foreign })
		}, wire.ReasonCiphertext},
	} {
		for form, f := range map[string]form{"signed": w.signed, "with credentials": w.withCredentials} {
			w.failKMS(tt.fault)
			w.expect(name+", "+form, payload(question(canary), f), tt.want)
		}
		w.failKMS(nil)
		w.good(name)
	}
}

// tamper lets KMS answer, and changes the answer.
func (w *world) tamper(rw http.ResponseWriter, r *http.Request, change func(map[string]any)) {
	rec := httptest.NewRecorder()
	w.kms.Handler().ServeHTTP(rec, r)
	var out map[string]any
	if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil || rec.Code != http.StatusOK {
		w.t.Errorf("KMS answered HTTP %d: %v", rec.Code, err)
	}
	change(out)
	rw.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
	json.NewEncoder(rw).Encode(out)
}

// A client that leaves while KMS is asked is not waited for.
func TestCancelledAtKMS(t *testing.T) {
	w := newWorld(t, options{Options: service.Options{Model: echo()}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w.failKMS(func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // so that the server sees the client go
		cancel()
		<-r.Context().Done()
		panic(http.ErrAbortHandler)
	})
	for _, err := range w.chunks(ctx, payload(question(canary), w.signed)) {
		if err == nil {
			t.Error("an answer")
		}
	}
	refused(t, "the service", (<-w.ended).err, wire.ReasonDeadline)
	w.failKMS(nil)
	w.good("the client left")
	w.silent("the client left")
}

// What the model refuses of a question is the question's fault.
func TestModelRefuses(t *testing.T) {
	refusing := func(err error) inference.Model {
		return inferencetest.New(inferencetest.Options{Step: func(context.Context) error { return err }})
	}
	for want, err := range map[wire.Reason]error{
		wire.ReasonQuestion:      &inference.RequestError{Field: "Grammar", Reason: canary, Err: inference.ErrInvalidRequest},
		wire.ReasonPromptTooLong: &inference.RequestError{Field: "Prompt", Reason: canary, Err: inference.ErrPromptTooLong},
		wire.ReasonOverloaded:    inference.ErrOverloaded,
		wire.ReasonUnavailable:   inference.ErrClosed,
		wire.ReasonDeadline:      context.DeadlineExceeded,
	} {
		w := newWorld(t, options{Options: service.Options{Model: refusing(err)}})
		w.expect(string(want), payload(question("hi"), w.signed), want)
	}
}
