package uitest

import (
	"context"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// genuineFile is an attestation document of AWS's, and genuineAt a time at
// which its chain is valid.
const genuineFile = "../../../../../attest/testdata/attestation/real/dstack-nsm-qvl.cose"

var genuineAt = time.Date(2025, 12, 25, 13, 15, 37, 0, time.UTC)

// enclaves are the states that an enclave can be in, by name.
type enclaves map[string]func() (*ask.Attestation, error)

func newEnclaves() (enclaves, error) {
	private, err := genuine()
	if err != nil {
		return nil, err
	}
	image := attest.PCRFromDigest(sha512.Sum384([]byte("the image")))
	named := attest.Policy{Measurements: []attest.Measurement{
		{Name: "chatbot of last week", PCRs: attest.PCRs{0: attest.PCR3("another")}},
		{Name: "chatbot", PCRs: attest.PCRs{0: image, 1: image, 2: image}},
	}}
	simulated, err := software(attest.PCRs{0: image, 1: image, 2: image, 3: attest.PCR3("arn:aws:iam::111122223333:role/parent")}, named)
	if err != nil {
		return nil, err
	}
	simulated.Measurement = "chatbot"
	debug, err := software(nil, attest.Policy{AnyMeasurement: true, AllowDebug: true})
	if err != nil {
		return nil, err
	}
	expired := *private
	expired.Key.NotAfter = time.Now().Add(-time.Second)
	return enclaves{
		"private":     func() (*ask.Attestation, error) { return private, nil },
		"expired":     func() (*ask.Attestation, error) { return &expired, nil },
		"simulated":   func() (*ask.Attestation, error) { return simulated, nil },
		"debug":       func() (*ask.Attestation, error) { return debug, nil },
		"unreachable": func() (*ask.Attestation, error) { return nil, wire.ReasonUnavailable },
		"signature":   func() (*ask.Attestation, error) { return nil, attest.ErrSignature },
		"mismatch": func() (*ask.Attestation, error) {
			return nil, &attest.PolicyError{Rule: "measurement", Measurement: "chatbot", PCR: 0, Expected: image, Found: private.Document.PCRs[0]}
		},
	}, nil
}

func genuine() (*ask.Attestation, error) {
	raw, err := os.ReadFile(genuineFile)
	if err != nil {
		return nil, err
	}
	opts := attest.Options{Clock: func() time.Time { return genuineAt }, Policy: attest.Policy{AnyMeasurement: true}}
	doc, err := attest.Verify(raw, opts)
	if err != nil {
		return nil, err
	}
	pcrs := attest.PCRs{0: doc.PCRs[0], 1: doc.PCRs[1], 2: doc.PCRs[2]}
	policy := attest.Policy{Measurements: []attest.Measurement{{Name: "chatbot", PCRs: pcrs}}}
	a := attestation(doc, raw, policy)
	a.Measurement = "chatbot"
	return a, nil
}

// software returns the attestation of a software NSM.
func software(pcrs attest.PCRs, policy attest.Policy) (*ask.Attestation, error) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		return nil, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return nil, err
	}
	defer nsm.Close()
	raw, err := nsm.Attest(context.Background(), attest.Request{})
	if err != nil {
		return nil, err
	}
	doc, err := attest.Verify(raw, attest.Options{Roots: []*x509.Certificate{ca.Root()}, Policy: policy})
	if err != nil {
		return nil, fmt.Errorf("the software NSM's document: %w", err)
	}
	a := attestation(doc, raw, policy)
	a.Simulated = true
	return a, nil
}

func attestation(doc *attest.Document, raw []byte, policy attest.Policy) *ask.Attestation {
	return &ask.Attestation{
		Document: doc, Raw: raw, Policy: policy, VerifiedAt: doc.Timestamp.Add(time.Second),
		Key: ask.Key{ID: "5b0f3c0a9d2e4417", Suite: "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM", NotAfter: time.Now().Add(time.Hour)},
		Model: ask.Model{
			Name: "larkfield-bloom", Digest: "d1935ee3a37c46c0f2d9f7a2c8e9dc0a4bb2b31d1c2a1f5c6e77a0d3b64ed0aa",
			Parameters: 3161472, MaxTokens: 2048, Engine: "libllama 0.5.0",
		},
		KMSKey: "arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
		Parent: "http://127.0.0.1:5001",
	}
}
