package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

var receiptClaims = session.Claims{Request: []byte("q"), Response: []byte("a"), Model: []byte("m"), Parameters: []byte("p")}

func mustReceipt(t *testing.T, e *session.Enclave, c session.Claims) []byte {
	t.Helper()
	receipt, err := e.Receipt(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

func TestReceipt(t *testing.T) {
	w := newWorld(t, nil)
	receipt := mustReceipt(t, w.enclave, receiptClaims)
	made := w.clock.Now()
	// Years later, and by somebody who has set what a Client sets.
	w.clock.add(10 * 365 * 24 * time.Hour)
	opts := w.trust()
	opts.Policy.Nonce, opts.Policy.UserData = []byte("another"), []byte("another")
	r, err := session.VerifyReceipt(receipt, opts, receiptClaims)
	if err != nil || r.Time.Unix() != made.Unix() || r.Document.ModuleID != nsmtest.DefaultModuleID {
		t.Fatalf("%+v, %v", r, err)
	}
}

func TestWrongClaims(t *testing.T) {
	w := newWorld(t, nil)
	receipt := mustReceipt(t, w.enclave, receiptClaims)
	for name, change := range map[string]func(*session.Claims){
		"session: the receipt does not prove this: it is about another request":    func(c *session.Claims) { c.Request = []byte("Q") },
		"session: the receipt does not prove this: it is about another response":   func(c *session.Claims) { c.Response = nil },
		"session: the receipt does not prove this: it is about another model":      func(c *session.Claims) { c.Model = []byte("mm") },
		"session: the receipt does not prove this: it is about another parameters": func(c *session.Claims) { c.Parameters = []byte{} },
	} {
		c := receiptClaims
		change(&c)
		r, err := session.VerifyReceipt(receipt, w.trust(), c)
		if r != nil || !errors.Is(err, session.ErrReceipt) || err.Error() != name {
			t.Errorf("%v; want %s", err, name)
		}
	}
	// What one claim says does not count as another.
	c := receiptClaims
	c.Request, c.Response = c.Response, c.Request
	if _, err := session.VerifyReceipt(receipt, w.trust(), c); !errors.Is(err, session.ErrReceipt) {
		t.Error(err)
	}
}

func TestHostileReceipt(t *testing.T) {
	w := newWorld(t, nil)
	good := mustReceipt(t, w.enclave, receiptClaims)
	claims, document := splitAnswer(good)
	otherClaims, otherDocument := splitAnswer(mustReceipt(t, w.enclave, receiptClaims))
	request := append([]byte("NSA1"), make([]byte, session.NonceSize)...)
	answer := mustAttest(t, w.enclave, request)
	config, configDocument := splitAnswer(answer)
	receiptOf := func(claims, document []byte) []byte {
		b := answerOf(claims, document)
		copy(b, "NSP1")
		return b
	}
	trust := func(edit func(*attest.Options)) attest.Options {
		o := w.trust()
		if edit != nil {
			edit(&o)
		}
		return o
	}
	wrong := func(seed byte) func(*attest.Options) {
		return func(o *attest.Options) {
			o.Policy.Measurements = []attest.Measurement{{Name: "v2", PCRs: testPCRs(seed)}}
		}
	}
	for _, test := range []struct {
		name    string
		receipt []byte
		opts    attest.Options
		want    refusal
	}{
		{"nothing", nil, trust(nil), refusal{err: session.ErrReceipt}},
		{"an answer to an attestation request", answer, trust(nil), refusal{err: session.ErrReceipt}},
		{"the same, called a receipt", receiptOf(config, configDocument), trust(nil), refusal{err: session.ErrReceipt}},
		{"its document under claims", receiptOf(claims, configDocument), trust(nil), refusal{err: session.ErrReceipt}},
		{"another receipt's document", receiptOf(claims, otherDocument), trust(nil), refusal{err: session.ErrReceipt}},
		{"another receipt's claims", receiptOf(otherClaims, document), trust(nil), refusal{err: session.ErrReceipt}},
		{"no document", receiptOf(claims, nil), trust(nil), refusal{err: session.ErrReceipt}},
		{"no claims", receiptOf(nil, document), trust(nil), refusal{err: session.ErrReceipt}},
		{"over the limit", append(good[:len(good):len(good)], make([]byte, session.MaxReceipt)...), trust(nil), refusal{err: session.ErrReceipt}},
		{"a byte behind", append(good[:len(good):len(good)], 0), trust(nil), refusal{err: attest.ErrMalformed}},
		{"another image expected", good, trust(wrong(2)), refusal{attest.ErrPolicy, "measurement"}},
		{"nothing expected", good, trust(func(o *attest.Options) { o.Policy = attest.Policy{} }), refusal{attest.ErrPolicy, "policy"}},
		{"another enclave expected", good, trust(func(o *attest.Options) { o.Policy.ModuleID = otherModule }), refusal{attest.ErrPolicy, "module id"}},
		{"AWS's root expected", good, trust(func(o *attest.Options) { o.Roots = nil }), refusal{err: attest.ErrUntrusted}},
		{"from debug mode", mustReceipt(t, w.newEnclave(nsmtest.Options{PCRs: attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR()}}, nil), receiptClaims), trust(nil), refusal{attest.ErrPolicy, "debug"}},
		{"a clock 11 minutes ahead", mustReceipt(t, w.newEnclave(nsmtest.Options{}, func(o *session.EnclaveOptions) { o.Clock = w.clock.behind(-11 * time.Minute) }), receiptClaims), trust(nil), refusal{err: session.ErrReceipt}},
		{"a clock 4 hours ahead", mustReceipt(t, w.newEnclave(nsmtest.Options{}, func(o *session.EnclaveOptions) { o.Clock = w.clock.behind(-4 * time.Hour) }), receiptClaims), trust(nil), refusal{err: attest.ErrExpired}},
	} {
		r, err := session.VerifyReceipt(test.receipt, test.opts, receiptClaims)
		if r != nil {
			t.Errorf("%s: accepted", test.name)
			continue
		}
		t.Run(test.name, func(t *testing.T) { test.want.check(t, err) })
	}
	// And the other way round: TestHostileAttestation.
}

func TestReceiptFails(t *testing.T) {
	w := newWorld(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if receipt, err := w.enclave.Receipt(ctx, receiptClaims); !errors.Is(err, context.Canceled) || errors.Is(err, session.ErrAttester) || receipt != nil {
		t.Errorf("%v", err)
	}
	nsm := w.newNSM(nsmtest.Options{})
	nsm.Close()
	w = newWorld(t, func(opts *session.EnclaveOptions) { opts.Attester, opts.Recipient = nsm, nil })
	if receipt, err := w.enclave.Receipt(t.Context(), receiptClaims); !errors.Is(err, session.ErrAttester) || !errors.Is(err, attest.ErrClosed) || receipt != nil {
		t.Errorf("no security module: %v", err)
	}
}
