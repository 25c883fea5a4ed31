package local

import (
	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// The local KMS's account and principals.
const (
	Region  = "us-east-1"
	Account = "111122223333" // an account id that AWS's own documentation uses in examples

	adminRole   = "arn:aws:iam::" + Account + ":role/chatbot-admin"
	clientRole  = "arn:aws:iam::" + Account + ":role/chatbot-client"
	enclaveRole = "arn:aws:iam::" + Account + ":role/chatbot-enclave"

	// KeyAlias names the demo's key.
	KeyAlias = "alias/ncsnitro"
)

// KeyPolicy is the key policy of the demo, and the least that the pipeline
// needs. The client may encrypt questions and open answers. The credentials
// that travel to the enclave may open questions only together with an
// attestation of the given PCRs, and may encrypt answers; they can open no
// answer, and without the enclave no question.
func KeyPolicy(pcrs attest.PCRs) (string, error) {
	policy, err := keypolicy.Spec{
		Admins:       []string{adminRole},
		Clients:      []string{clientRole},
		Enclaves:     []string{enclaveRole},
		Measurements: []attest.Measurement{{Name: "the demo's enclave", PCRs: pcrs}},
	}.Policy()
	return string(policy), err
}
