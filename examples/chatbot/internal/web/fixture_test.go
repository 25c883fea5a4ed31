package web_test

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"errors"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
)

// asker gives the attestation, or the error, that a test names.
type asker struct {
	attestation *ask.Attestation
	err         error
}

func (a asker) Attestation(context.Context) (*ask.Attestation, error) { return a.attestation, a.err }

func (a asker) Ask(context.Context, ask.Question) iter.Seq2[ask.Chunk, error] {
	return func(yield func(ask.Chunk, error) bool) {
		yield(ask.Chunk{}, errors.New("this test asks nothing"))
	}
}

var (
	image  = attest.PCRFromDigest(sha512.Sum384([]byte("the image")))
	kernel = attest.PCRFromDigest(sha512.Sum384([]byte("the kernel")))
	role   = attest.PCR3("arn:aws:iam::111122223333:role/parent")
)

// simulated returns the attestation of a software NSM with the registers pcrs,
// held against policy.
func simulated(t *testing.T, pcrs attest.PCRs, policy attest.Policy) *ask.Attestation {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	defer nsm.Close()
	raw, err := nsm.Attest(t.Context(), attest.Request{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := attest.Verify(raw, attest.Options{Roots: []*x509.Certificate{ca.Root()}, Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	a := attestation(doc, raw, policy)
	a.Simulated = true
	return a
}

// genuine returns the attestation of an AWS enclave, and a time at which it is
// valid.
func genuine(t *testing.T) (*ask.Attestation, time.Time) {
	t.Helper()
	raw, err := os.ReadFile("../../../../attest/testdata/attestation/real/dstack-nsm-qvl.cose")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2025, 12, 25, 13, 15, 37, 0, time.UTC)
	opts := attest.Options{Clock: func() time.Time { return at }, Policy: attest.Policy{AnyMeasurement: true}}
	doc, err := attest.Verify(raw, opts)
	if err != nil {
		t.Fatal(err)
	}
	opts.Policy = attest.Policy{Measurements: []attest.Measurement{{Name: "release 7", PCRs: attest.PCRs{0: doc.PCRs[0], 1: doc.PCRs[1], 2: doc.PCRs[2]}}}}
	if doc, err = attest.Verify(raw, opts); err != nil {
		t.Fatal(err)
	}
	a := attestation(doc, raw, opts.Policy)
	a.Measurement = "release 7"
	return a, at
}

func attestation(doc *attest.Document, raw []byte, policy attest.Policy) *ask.Attestation {
	return &ask.Attestation{
		Document: doc, Raw: raw, Policy: policy,
		VerifiedAt: doc.Timestamp.Add(time.Second),
		Key:        ask.Key{ID: "0badc0de", Suite: "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM", NotAfter: doc.Timestamp.Add(time.Hour)},
		Model:      ask.Model{Name: "larkfield", Digest: "d1935", Parameters: 3161472, MaxTokens: 2048, Engine: "libllama 0.5.0"},
		KMSKey:     "arn:aws:kms:us-east-1:111122223333:key/abc",
		Parent:     "https://user:secret@parent.example:5001/ask?token=secret#secret",
	}
}
