package blog

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/nitroseal/nitroseal/attest"
)

// The parts of the policy that come from outside are checked, so that none of
// them can say more than it should.
var (
	accountID = regexp.MustCompile(`^[0-9]{12}$`)
	// The partition, such as aws or aws-cn, is the first group.
	principalForm = regexp.MustCompile(`^arn:(aws[a-z-]{0,16}):iam::[0-9]{12}:(?:role|user)/[A-Za-z0-9+=,.@_/-]{1,576}$`)
)

// KeyPolicy is the key policy that the post's protocol needs, in JSON: the
// account administers the key; the one principal that the post knows encrypts,
// and decrypts both inside an enclave with the given registers and outside of
// any. PCR0 is required.
//
// The last of these defeats the one before, for whoever has the credentials:
// the parent has them, and needs no enclave. It cannot be left out, because the
// client opens its answers so. keypolicy.Lint calls it critical. What the
// policy still does is to refuse other enclave images, and ciphertexts that
// have an encryption context.
func KeyPolicy(account, principalARN string, pcrs attest.PCRs) (string, error) {
	form := principalForm.FindStringSubmatch(principalARN)
	if form == nil {
		return "", errors.New("blog: the principal must be the ARN of an IAM role or user")
	}
	if !accountID.MatchString(account) {
		return "", errors.New("blog: an account has 12 digits")
	}
	registers := map[string]string{}
	for _, n := range slices.Sorted(maps.Keys(pcrs)) {
		if v := pcrs[n]; n < 0 || n > 31 || len(v) != 48 || v.IsZero() {
			return "", fmt.Errorf("blog: PCR%d is not a register of 48 bytes that an image has measured into", n)
		}
		registers[fmt.Sprintf("kms:RecipientAttestation:PCR%d", n)] = pcrs[n].String()
	}
	if pcrs[0] == nil {
		return "", errors.New("blog: PCR0, the whole image, is not given")
	}

	type condition map[string]map[string]string
	type statement struct {
		Sid, Effect string
		Principal   map[string]string
		Action      []string
		Resource    string
		Condition   condition `json:",omitempty"`
	}
	allow := func(sid, principal string, c condition, actions ...string) statement {
		return statement{sid, "Allow", map[string]string{"AWS": principal}, actions, "*", c}
	}
	const contextKeys = "kms:EncryptionContextKeys"
	policy, err := json.MarshalIndent(struct {
		Version   string
		Statement []statement
	}{"2012-10-17", []statement{
		allow("Administration", fmt.Sprintf("arn:%s:iam::%s:root", form[1], account), nil,
			"kms:CancelKeyDeletion", "kms:CreateAlias", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey", "kms:EnableKey",
			"kms:GetKeyPolicy", "kms:ListKeyPolicies", "kms:PutKeyPolicy", "kms:ScheduleKeyDeletion", "kms:UpdateAlias"),
		allow("QuestionsAndAnswersAreWritten", principalARN, condition{
			"Null": {contextKeys: "true"},
		}, "kms:Encrypt"),
		allow("TheEnclaveReads", principalARN, condition{
			"Null":                   {contextKeys: "true"},
			"StringEqualsIgnoreCase": registers,
		}, "kms:Decrypt"),
		allow("TheClientReadsAndSoMayTheParent", principalARN, condition{
			"Null": {contextKeys: "true", "kms:RecipientAttestation:ImageSha384": "true"},
		}, "kms:Decrypt"),
	}}, "", "  ")
	return string(policy), err
}
