package local

import (
	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
)

// The local KMS's account and principals.
const (
	Region  = "us-east-1"
	Account = "111122223333" // an account id that AWS's own documentation uses in examples

	adminRole  = "arn:aws:iam::" + Account + ":role/chatbot-admin"
	clientRole = "arn:aws:iam::" + Account + ":role/chatbot-client"

	// PostAlias is the alias of the AWS blog post's key, without "alias/" as
	// the post's client takes it.
	PostAlias = "ncsnitro"
	// sealedAlias names the demo's own key where the post's has its alias.
	sealedAlias = "nitroseal-chatbot"

	aliasPrefix = "alias/"
)

// KeyPolicy is the key policy of the demo, and the least that the pipeline
// needs. The client may encrypt questions, and may have them decrypted only
// with the attestation of an enclave of the given PCRs: by signing requests
// for it. Nobody else may anything, and the enclave has no role at all.
func KeyPolicy(pcrs attest.PCRs) (string, error) {
	policy, err := keypolicy.Spec{
		Admins:          []string{adminRole},
		Clients:         []string{clientRole},
		Delegated:       true,
		SealedResponses: true,
		Measurements:    []attest.Measurement{{Name: "the demo's enclave", PCRs: pcrs}},
	}.Policy()
	return string(policy), err
}

// blogKeyPolicy is the policy of the post's key, which its protocol makes weak.
func blogKeyPolicy(pcrs attest.PCRs) (string, error) {
	return blog.KeyPolicy(Account, clientRole, pcrs)
}
