package keypolicy

import (
	"slices"
	"strings"
)

// actions are those of KMS that a key policy can grant (Service Authorization
// Reference, "Actions, resources, and condition keys for AWS Key Management
// Service").
var actions = strings.Fields(`
	CancelKeyDeletion ConnectCustomKeyStore CreateAlias CreateCustomKeyStore
	CreateGrant CreateKey Decrypt DeleteAlias DeleteCustomKeyStore
	DeleteImportedKeyMaterial DeriveSharedSecret DescribeCustomKeyStores
	DescribeKey DisableKey DisableKeyRotation DisconnectCustomKeyStore EnableKey
	EnableKeyRotation Encrypt GenerateDataKey GenerateDataKeyPair
	GenerateDataKeyPairWithoutPlaintext GenerateDataKeyWithoutPlaintext
	GenerateMac GenerateRandom GetKeyPolicy GetKeyRotationStatus
	GetParametersForImport GetPublicKey ImportKeyMaterial ListAliases ListGrants
	ListKeyPolicies ListKeyRotations ListKeys ListResourceTags ListRetirableGrants
	PutKeyPolicy ReEncryptFrom ReEncryptTo ReplicateKey RetireGrant RevokeGrant
	RotateKeyOnDemand ScheduleKeyDeletion Sign SynchronizeMultiRegionKey
	TagResource UntagResource UpdateAlias UpdateCustomKeyStore
	UpdateKeyDescription UpdatePrimaryRegion Verify VerifyMac`)

var (
	// revealing are the actions that turn stored ciphertext, or a key pair's
	// shared secret, into something that the caller can read. ReEncryptFrom is
	// one: it moves ciphertext to a key that the caller may decrypt with.
	revealing = []string{"Decrypt", "DeriveSharedSecret", "ReEncryptFrom"}
	// minting are those that hand out a fresh key in clear.
	minting = []string{"GenerateDataKey", "GenerateDataKeyPair"}
	// attestable are those that take a Recipient with an attestation document
	// (AWS KMS developer guide, "Cryptographic attestation support").
	// GenerateRandom does too, but it uses no key.
	attestable = []string{"Decrypt", "DeriveSharedSecret", "GenerateDataKey", "GenerateDataKeyPair"}
	// writing are those by which a caller makes ciphertext under the key.
	writing = []string{"Encrypt", "GenerateDataKey", "GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "GenerateDataKeyWithoutPlaintext", "ReEncryptTo"}
	// destroying are those by which a caller ends the use of the key.
	destroying = []string{"DisableKey", "ScheduleKeyDeletion", "DeleteImportedKeyMaterial"}
)

// matchAction reports whether a pattern of an Action element covers an action
// of KMS. Actions have no case.
func matchAction(pattern, action string) bool {
	return Match(strings.ToLower(pattern), "kms:"+strings.ToLower(action))
}

// covers reports whether the statement is about an action of KMS.
func (s *Statement) covers(action string) bool {
	match := func(pattern string) bool { return matchAction(pattern, action) }
	if len(s.NotActions) > 0 {
		return !slices.ContainsFunc(s.NotActions, match)
	}
	return slices.ContainsFunc(s.Actions, match)
}

// among returns those of the given actions that the statement is about.
func (s *Statement) among(of []string) []string {
	var found []string
	for _, a := range of {
		if s.covers(a) {
			found = append(found, a)
		}
	}
	return found
}

// useless returns the patterns of the statement that cover no action of KMS.
func (s *Statement) useless() []string {
	var found []string
	for _, pattern := range slices.Concat(s.Actions, s.NotActions) {
		if !slices.ContainsFunc(actions, func(a string) bool { return matchAction(pattern, a) }) {
			found = append(found, pattern)
		}
	}
	return found
}
