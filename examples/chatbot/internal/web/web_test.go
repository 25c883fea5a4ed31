package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/web"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

func get(h http.Handler, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

func namingImage() attest.Policy {
	return attest.Policy{Measurements: []attest.Measurement{
		{Name: "old", PCRs: attest.PCRs{0: kernel}},
		{Name: "new", PCRs: attest.PCRs{0: image, 1: kernel}},
	}}
}

func TestHeadersAreOnEveryAnswer(t *testing.T) {
	h := web.NewHandler(web.Options{Asker: asker{err: errors.New("no")}})
	for path, status := range map[string]int{
		"/": 200, "/assets/app.js": 200, "/assets/base.css": 200, "/assets/icon.svg": 200, "/api/about": 200,
		"/api/attestation": 502, "/api/attestation/document": 502,
		"/nothing": 404, "/assets/nothing.js": 404, "/assets/index.html": 404, "/assets/..%2fweb.go": 404, "/assets/": 404,
	} {
		w := get(h, path)
		if w.Code != status {
			t.Errorf("%s: status %d, want %d", path, w.Code, status)
		}
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
		} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q, want %q", path, name, got, want)
			}
		}
		checkPolicy(t, path, w.Header().Get("Content-Security-Policy"))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/api/attestation", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: status %d", w.Code)
	}
}

// checkPolicy holds a Content-Security-Policy to exactly what the page needs.
func checkPolicy(t *testing.T, path, policy string) {
	t.Helper()
	want := map[string]string{
		"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self'", "connect-src": "'self'",
		"base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'",
		"require-trusted-types-for": "'script'", "trusted-types": "'none'",
	}
	got := map[string]string{}
	for directive := range strings.SplitSeq(policy, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(directive), " ")
		got[name] = value
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%s: Content-Security-Policy %q", path, policy)
	}
}

func TestAbout(t *testing.T) {
	for _, test := range []struct {
		opts web.Options
		want string
	}{
		{web.Options{}, `{"version":"","suggestions":[],"single_turn":false}`},
		{web.Options{Version: "v1", Suggestions: []string{"what?"}, SingleTurn: true}, `{"version":"v1","suggestions":["what?"],"single_turn":true}`},
	} {
		if got := get(web.NewHandler(test.opts), "/api/about").Body.String(); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestDocumentIsTheRawOne(t *testing.T) {
	a, _ := genuine(t)
	w := get(web.NewHandler(web.Options{Asker: asker{attestation: a}}), "/api/attestation/document")
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), a.Raw) {
		t.Errorf("status %d, %d bytes, want the %d of the document", w.Code, w.Body.Len(), len(a.Raw))
	}
	if got := w.Header().Get("Content-Disposition"); got != `attachment; filename="nitroseal-attestation.cose"` {
		t.Errorf("Content-Disposition %q", got)
	}
	if got := w.Header().Get("Content-Type"); got != "application/cose" {
		t.Errorf("Content-Type %q", got)
	}
}

// TestReportHasTheDocumentedFieldsOnly decodes what is sent into what is
// documented, and back.
func TestReportHasTheDocumentedFieldsOnly(t *testing.T) {
	a, at := genuine(t)
	h := web.NewHandler(web.Options{Asker: asker{attestation: a}, Clock: func() time.Time { return at }})
	w := get(h, "/api/attestation")
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "application/json" {
		t.Fatalf("status %d, Content-Type %q", w.Code, w.Header().Get("Content-Type"))
	}
	var report web.Report
	strict := json.NewDecoder(bytes.NewReader(w.Body.Bytes()))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&report); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(report)
	if err != nil || !bytes.Equal(again, w.Body.Bytes()) {
		t.Errorf("decoding and encoding changed the report: %v\n%s\n%s", err, w.Body.Bytes(), again)
	}
	for _, secret := range []string{"secret", "user:", "token="} {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("the report repeats %q of the parent's URL", secret)
		}
	}
}

func TestFailures(t *testing.T) {
	const inner = "inner text that must not get out"
	measurement := &attest.PolicyError{Rule: "measurement", Measurement: "new", PCR: 1, Expected: kernel, Found: image}
	for _, test := range []struct {
		name, code, rule string
		err              error
	}{
		{"malformed", "malformed_document", "", attest.ErrMalformed},
		{"chain", "untrusted_chain", "", attest.ErrUntrusted},
		{"expired", "expired_certificate", "", &attest.ExpiredError{}},
		{"signature", "bad_signature", "", attest.ErrSignature},
		{"another key", "key_not_attested", "", session.ErrConfig},
		{"an old key", "key_expired", "", session.ErrConfigExpired},
		{"another model", "model_refused", "", chat.ErrModel},
		{"another KMS key", "key_refused", "", chat.ErrKey},
		{"measurement", "policy", "measurement", measurement},
		{"debug", "policy", "debug", &attest.PolicyError{Rule: "debug", PCR: -1}},
		{"nonce", "policy", "nonce", &attest.PolicyError{Rule: "nonce", PCR: -1}},
		{"a rule of later", "policy", "", &attest.PolicyError{Rule: inner, PCR: -1}},
		{"unreachable", "enclave_unavailable", "", wire.ReasonUnavailable},
		{"a reason of later", "internal", "", wire.Reason(inner)},
		{"deadline", "deadline_exceeded", "", context.DeadlineExceeded},
		{"unknown", "unverified", "", errors.New("unknown")},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := fmt.Errorf("%s: %w", inner, test.err)
			w := get(web.NewHandler(web.Options{Asker: asker{err: err}}), "/api/attestation")
			var failure web.Failure
			if err := json.Unmarshal(w.Body.Bytes(), &failure); err != nil {
				t.Fatal(err)
			}
			if w.Code != http.StatusBadGateway || failure.Trusted {
				t.Errorf("status %d, trusted %v", w.Code, failure.Trusted)
			}
			if failure.Error.Code != test.code || failure.Error.Rule != test.rule {
				t.Errorf("code %q, rule %q", failure.Error.Code, failure.Error.Rule)
			}
			if !strings.HasPrefix(failure.Error.Message, "The enclave is NOT trusted: ") || strings.Contains(w.Body.String(), inner) {
				t.Errorf("got %s", w.Body)
			}
			if (failure.Error.PCR != nil) != (test.rule == "measurement") {
				t.Errorf("PCR is %v", failure.Error.PCR)
			}
			if p := failure.Error.PCR; p != nil && *p != (web.PCRInfo{Index: 1, State: "mismatch", Found: image.String(), Expected: kernel.String()}) {
				t.Errorf("PCR is %+v", p)
			}
		})
	}
}

// TestAttestationsThatContradictThemselves: the page must not say that an
// enclave is trusted on the word of an Asker alone.
func TestAttestationsThatContradictThemselves(t *testing.T) {
	for name, spoil := range map[string]func(*ask.Attestation){
		"another register":   func(a *ask.Attestation) { a.Document.PCRs[1] = image },
		"no such name":       func(a *ask.Attestation) { a.Measurement = "other" },
		"another name":       func(a *ask.Attestation) { a.Measurement = "old" },
		"no policy":          func(a *ask.Attestation) { a.Policy = attest.Policy{} },
		"a policy without":   func(a *ask.Attestation) { a.Policy.Measurements[1].PCRs = nil },
		"both kinds":         func(a *ask.Attestation) { a.Policy.AnyMeasurement, a.Measurement = true, "none" },
		"debug unasked":      func(a *ask.Attestation) { clearPCRs(a) },
		"no document":        func(a *ask.Attestation) { a.Document = nil },
		"no leaf":            func(a *ask.Attestation) { a.Document.Certificate = nil },
		"no chain":           func(a *ask.Attestation) { a.Document.CABundle = nil },
		"no bytes":           func(a *ask.Attestation) { a.Raw = nil },
		"a register is gone": func(a *ask.Attestation) { delete(a.Document.PCRs, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			a := simulated(t, attest.PCRs{0: image, 1: kernel}, namingImage())
			a.Measurement = "new"
			h := web.NewHandler(web.Options{Asker: asker{attestation: a}})
			if w := get(h, "/api/attestation"); w.Code != http.StatusOK {
				t.Fatalf("before: status %d: %s", w.Code, w.Body)
			}
			spoil(a)
			for _, path := range []string{"/api/attestation", "/api/attestation/document"} {
				if w := get(h, path); w.Code != http.StatusBadGateway || !strings.Contains(w.Body.String(), `"trusted":false`) {
					t.Errorf("%s: status %d: %s", path, w.Code, w.Body)
				}
			}
		})
	}
}

func clearPCRs(a *ask.Attestation) {
	for i := range 3 {
		a.Document.PCRs[i] = attest.ZeroPCR()
	}
	a.Policy = attest.Policy{AnyMeasurement: true}
}
