package keypolicy_test

import (
	"fmt"
	"log"
	"slices"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

func ExampleLint() {
	policy := []byte(`{
		"Version": "2012-10-17",
		"Statement": [
			{"Sid": "Administration", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/key-admin"},
			 "Action": "kms:PutKeyPolicy", "Resource": "*"},
			{"Sid": "Enclave", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111122223333:role/parent"},
			 "Action": "kms:Decrypt", "Resource": "*",
			 "Condition": {"StringEqualsIfExists": {"kms:EncryptionContext:direction": "request",
			   "kms:RecipientAttestation:PCR0": "4fd20bf5203bb8b7e2d4b5cd0a4d6b4ef4f8a2b5a1bf4f2c3b2f0a6f61d3d0a1b6c7d8e9f00112233445566778899aab"}}}
		]}`)
	for _, finding := range keypolicy.Lint(policy, keypolicy.Options{}) {
		fmt.Printf("%s, statement %d: %s\n  %s\n", finding.Severity, finding.Statement, finding.Problem, finding.Attack)
	}
	// Output:
	// critical, statement 2: StringEqualsIfExists on kms:RecipientAttestation:PCR0 holds when there is no attestation
	//   Decrypt without a Recipient satisfies the condition: the parent leaves the attestation out and gets the plaintext in clear.
	// critical, statement 2: kms:EncryptionContext:direction may be left out
	//   Ciphertext without that entry satisfies the condition.
	// warning, statement 2: allows kms:Decrypt whatever the encryption context
	//   The parent has the enclave decrypt ciphertext that was made for something else, such as an answer given back as a question.
}

func ExampleSpec_Policy() {
	image := attest.PCRFromDigest([48]byte{1}) // from the build of the enclave's image
	policy, err := keypolicy.Spec{
		Admins:       []string{"arn:aws:iam::111122223333:role/key-admin"},
		Clients:      []string{"arn:aws:iam::111122223333:role/chatbot-client"},
		Enclaves:     []string{"arn:aws:iam::111122223333:role/chatbot-parent"},
		Measurements: []attest.Measurement{{Name: "v1.4", PCRs: attest.PCRs{0: image}}},
	}.Policy()
	if err != nil {
		log.Fatal(err)
	}
	parsed, err := keypolicy.Parse(policy)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range parsed.Statements {
		fmt.Println(s.Sid, len(s.Conditions))
	}
	// Output:
	// Administration 0
	// ClientsWriteRequests 1
	// ClientsReadResponses 1
	// EnclaveReadsRequests1 2
	// EnclaveWritesResponses 1
}

// A check that waives findings by name holds its list to the codes there are,
// so that a misspelt name is noticed.
func ExampleCodes() {
	for _, name := range []string{"root-administers", "no-atestation"} {
		_, known := slices.BinarySearch(keypolicy.Codes(), keypolicy.Code(name))
		fmt.Println(name, known)
	}
	// Output:
	// root-administers true
	// no-atestation false
}

// The patterns of policies end where the text does: a prefix needs its star.
func ExampleMatch() {
	fmt.Println(keypolicy.Match("kms:GenerateDataKey*", "kms:GenerateDataKeyWithoutPlaintext"))
	fmt.Println(keypolicy.Match("kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext"))
	fmt.Println(keypolicy.Match("arn:aws:iam::*:role/parent", "arn:aws:iam::444455556666:role/parent"))
	// Output:
	// true
	// false
	// true
}
