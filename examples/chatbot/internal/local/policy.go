package local

import (
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/nitroseal/nitroseal/attest"
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
func KeyPolicy(pcrs attest.PCRs) string {
	type object = map[string]any
	attested := object{}
	for i := range 3 {
		attested[fmt.Sprintf("kms:RecipientAttestation:PCR%d", i)] = hex.EncodeToString(pcrs[i])
	}
	direction := func(d string) object {
		return object{"kms:EncryptionContext:direction": d}
	}
	allow := func(sid, role string, actions []string, condition object) object {
		s := object{"Sid": sid, "Effect": "Allow", "Principal": object{"AWS": role}, "Action": actions, "Resource": "*"}
		if condition != nil {
			s["Condition"] = condition
		}
		return s
	}
	b, err := json.MarshalIndent(object{
		"Version": "2012-10-17",
		"Statement": []object{
			allow("Administer", adminRole, []string{"kms:DescribeKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"}, nil),
			allow("ClientAsks", clientRole, []string{"kms:Encrypt"}, object{"StringEquals": direction("request")}),
			allow("ClientReads", clientRole, []string{"kms:Decrypt"}, object{"StringEquals": direction("response")}),
			allow("EnclaveReads", enclaveRole, []string{"kms:Decrypt"}, object{
				"StringEquals":           direction("request"),
				"StringEqualsIgnoreCase": attested,
			}),
			allow("EnclaveAnswers", enclaveRole, []string{"kms:Encrypt"}, object{"StringEquals": direction("response")}),
		},
	}, "", "  ")
	if err != nil {
		panic(err) // strings and maps of strings always marshal
	}
	return string(b)
}
