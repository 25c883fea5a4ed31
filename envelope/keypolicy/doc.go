// Package keypolicy makes KMS key policies that hold a key for attested
// enclaves, and finds what defeats that in policies that others made.
//
// # What a key policy must do
//
// KMS checks that an attestation document is genuine; whether its enclave is
// the right one, only the key policy says, by conditions on
// kms:RecipientAttestation:PCR0 (also called ImageSha384) to PCR31. A request
// without a document simply has no such keys. So the parent, which has the same
// credentials as its enclave, is kept out only by conditions that fail when a
// key is absent, on every statement that lets those credentials decrypt.
//
// The second half is the encryption context. With direction=request on what
// clients encrypt and direction=response on what the enclave does, nobody can
// have the enclave open an answer, and no answer passes for a question.
//
// # Making one
//
//	policy, err := keypolicy.Spec{
//		Admins:       []string{"arn:aws:iam::111122223333:role/key-admin"},
//		Clients:      []string{"arn:aws:iam::111122223333:role/chatbot-client"},
//		Enclaves:     []string{"arn:aws:iam::111122223333:role/chatbot-parent"},
//		Measurements: []attest.Measurement{{Name: "v1.4", PCRs: attest.PCRs{0: pcr0, 1: pcr1, 2: pcr2}}},
//	}.Policy()
//
// Where no credentials should travel, leave Enclaves out and set Delegated:
// clients then sign the one request to decrypt that the enclave sends
// (envelope.SignDecrypt), and the policy lets the clients' own roles decrypt
// requests only with an attestation of the enclave. Set SealedResponses as well
// where answers do not pass through KMS.
//
// # Judging one
//
// Lint reads any key policy and says of each flaw what an attacker does with
// it:
//
//	for _, finding := range keypolicy.Lint(data, keypolicy.Options{}) {
//		fmt.Println(finding)
//	}
//
// It does not see IAM policies (which a statement for an account's root user
// lets in), grants, or service and resource control policies.
//
// All functions are safe for concurrent use. Sources: AWS KMS developer guide,
// "Key policies in AWS KMS", "Condition keys for AWS Nitro Enclaves"; IAM User
// Guide, "IAM JSON policy elements reference".
package keypolicy
