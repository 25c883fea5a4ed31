package envelope

import (
	"errors"
	"fmt"

	"github.com/aws/smithy-go"
)

// Each is a decision for the caller; use errors.Is. What KMS itself answered
// stays reachable: errors.As with a smithy.APIError or a type of the SDK's
// kms/types package.
var (
	// ErrDenied: KMS answered AccessDeniedException. The key policy does not
	// allow this principal this call with this attestation and context.
	ErrDenied = errors.New("envelope: KMS denied access")
	// ErrOpen: CiphertextForRecipient could not be opened. Why is not told,
	// by text or by time: the difference would be an oracle on the key.
	ErrOpen = errors.New("envelope: cannot open the ciphertext for the recipient")
	// ErrNotAttested: KMS answered plaintext where it was asked to encrypt
	// to the recipient. The plaintext is discarded, for it crossed the
	// connection readable by whoever ended TLS.
	ErrNotAttested = errors.New("envelope: KMS did not encrypt its answer to the recipient")
	// ErrKeyMismatch: KMS used another key than the pinned one, or answered
	// IncorrectKeyException, because the ciphertext is under another one.
	ErrKeyMismatch = errors.New("envelope: KMS used another key than the pinned one")
	// ErrNoRecipient: an attested operation on a Client without Recipient.
	ErrNoRecipient = errors.New("envelope: attested operations need a Recipient")
	// ErrNoContext: the encryption context is empty, and Options do not say
	// that it may be.
	ErrNoContext = errors.New("envelope: the encryption context is empty")
	// ErrTooLarge: more than KMS takes in one call.
	ErrTooLarge = errors.New("envelope: too large for KMS")
	// ErrEmpty: nothing to encrypt or decrypt.
	ErrEmpty = errors.New("envelope: empty input")
)

// What a KMSError holds when KMS reported success without a result.
var (
	errNoCiphertext = errors.New("the answer has no ciphertext")
	errNoPlaintext  = errors.New("the answer has no plaintext")
)

// KMSError is a call to KMS that failed. It unwraps to the SDK's error, and to
// ErrDenied or ErrKeyMismatch where that applies.
type KMSError struct {
	// Op is the KMS operation, such as "Decrypt".
	Op string
	// Err is the SDK's error, or says what a successful answer lacked.
	Err error
}

func (e *KMSError) Error() string {
	var api smithy.APIError
	if errors.As(e.Err, &api) {
		return fmt.Sprintf("envelope: KMS %s: %s: %s", e.Op, api.ErrorCode(), api.ErrorMessage())
	}
	return fmt.Sprintf("envelope: KMS %s: %v", e.Op, e.Err)
}

// Unwrap returns the SDK's error, with ErrDenied for AccessDeniedException and
// ErrKeyMismatch for IncorrectKeyException.
func (e *KMSError) Unwrap() []error {
	var api smithy.APIError
	if errors.As(e.Err, &api) {
		switch api.ErrorCode() {
		case "AccessDeniedException":
			return []error{ErrDenied, e.Err}
		case "IncorrectKeyException":
			return []error{ErrKeyMismatch, e.Err}
		}
	}
	return []error{e.Err}
}
