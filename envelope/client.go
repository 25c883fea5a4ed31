package envelope

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// MaxPlaintext is how much KMS encrypts in one call, in bytes (AWS KMS API
// Reference, Encrypt).
const MaxPlaintext = 4096

// maxCiphertext is how much KMS decrypts in one call, in bytes (AWS KMS API
// Reference, Decrypt).
const maxCiphertext = 6144

// EncryptionContext is the non-secret data that KMS binds to a ciphertext:
// decrypting needs the same. It appears in key policies, as
// kms:EncryptionContext:NAME, and in AWS CloudTrail: put nothing secret in it.
type EncryptionContext map[string]string

// KMSAPI is the part of *kms.Client that a Client uses.
type KMSAPI interface {
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	GenerateDataKeyPair(context.Context, *kms.GenerateDataKeyPairInput, ...func(*kms.Options)) (*kms.GenerateDataKeyPairOutput, error)
	GenerateRandom(context.Context, *kms.GenerateRandomInput, ...func(*kms.Options)) (*kms.GenerateRandomOutput, error)
	DeriveSharedSecret(context.Context, *kms.DeriveSharedSecretInput, ...func(*kms.Options)) (*kms.DeriveSharedSecretOutput, error)
}

var _ KMSAPI = (*kms.Client)(nil)

// Options configures a Client.
type Options struct {
	// KMS is the stock SDK client, with the credentials of whoever calls.
	// Required. Inside an enclave its HTTP transport must end TLS there.
	KMS KMSAPI
	// KeyID is the ARN of the one KMS key that is used, such as
	// arn:aws:kms:us-east-1:111122223333:key/1234abcd-…. Required. Key ids
	// and aliases are not taken: they name a key only together with an
	// account, which here is that of somebody else's credentials.
	KeyID string
	// Recipient is the enclave's. nil means a client outside of enclaves:
	// attested operations give ErrNoRecipient.
	Recipient *Recipient
	// AllowNoContext permits empty encryption contexts. Without it they give
	// ErrNoContext, for ciphertexts without a context can be swapped for each
	// other.
	AllowNoContext bool
}

// Client encrypts and decrypts with one KMS key. It is safe for concurrent use
// and cheap to make. Deadlines and retries are those of ctx and of the SDK's
// client: KMS operations that a Client uses may safely be repeated.
type Client struct{ opts Options }

// NewClient checks opts and returns a Client.
func NewClient(opts Options) (*Client, error) {
	if opts.KMS == nil {
		return nil, errors.New("envelope: a Client needs a KMS API")
	}
	if !isKeyARN(opts.KeyID) {
		return nil, errKeyARN
	}
	return &Client{opts}, nil
}

// Encrypt encrypts 1 to 4,096 bytes under the key and context.
//
// Errors: ErrEmpty, ErrTooLarge, ErrNoContext, ErrKeyMismatch, and *KMSError
// for what KMS refused.
func (c *Client) Encrypt(ctx context.Context, plaintext []byte, ec EncryptionContext) ([]byte, error) {
	if err := c.check(plaintext, MaxPlaintext, ec); err != nil {
		return nil, err
	}
	out, err := c.opts.KMS.Encrypt(ctx, &kms.EncryptInput{
		KeyId:             aws.String(c.opts.KeyID),
		Plaintext:         plaintext,
		EncryptionContext: maps.Clone(ec),
	})
	if err != nil {
		return nil, &KMSError{"Encrypt", err}
	}
	if err := c.checkKey(out.KeyId); err != nil {
		return nil, err
	}
	if len(out.CiphertextBlob) == 0 {
		return nil, &KMSError{"Encrypt", errNoCiphertext}
	}
	return out.CiphertextBlob, nil
}

// Decrypt opens a ciphertext by attestation: KMS releases the plaintext only
// to the Recipient's key, and only where the key policy allows this enclave.
// The caller owns the result, and should clear it when done.
//
// Errors: those of Encrypt, ErrNoRecipient, ErrNotAttested, ErrOpen, and the
// attester's.
func (c *Client) Decrypt(ctx context.Context, ciphertext []byte, ec EncryptionContext) ([]byte, error) {
	if err := c.check(ciphertext, maxCiphertext, ec); err != nil {
		return nil, err
	}
	key, recipient, err := c.recipient(ctx)
	if err != nil {
		return nil, err
	}
	out, err := c.opts.KMS.Decrypt(ctx, &kms.DecryptInput{
		KeyId:             aws.String(c.opts.KeyID),
		CiphertextBlob:    ciphertext,
		EncryptionContext: maps.Clone(ec),
		Recipient:         recipient,
	})
	if err != nil {
		return nil, &KMSError{"Decrypt", err}
	}
	return c.unwrap(key, out.KeyId, out.Plaintext, out.CiphertextForRecipient)
}

// DecryptUnattested opens a ciphertext without attestation, outside of an
// enclave, where the key policy allows that. The caller owns the result.
func (c *Client) DecryptUnattested(ctx context.Context, ciphertext []byte, ec EncryptionContext) ([]byte, error) {
	if err := c.check(ciphertext, maxCiphertext, ec); err != nil {
		return nil, err
	}
	out, err := c.opts.KMS.Decrypt(ctx, &kms.DecryptInput{
		KeyId:             aws.String(c.opts.KeyID),
		CiphertextBlob:    ciphertext,
		EncryptionContext: maps.Clone(ec),
	})
	if err != nil {
		return nil, &KMSError{"Decrypt", err}
	}
	if err := c.checkKey(out.KeyId); err != nil {
		clear(out.Plaintext)
		return nil, err
	}
	if len(out.Plaintext) == 0 {
		return nil, &KMSError{"Decrypt", errNoPlaintext}
	}
	return out.Plaintext, nil
}

// DataKey is an AES-256 key, in clear and encrypted under the KMS key.
type DataKey struct {
	// Plaintext is the key, 32 bytes. Clear it when done.
	Plaintext []byte
	// Ciphertext is for Decrypt, with the same encryption context.
	Ciphertext []byte
}

// GenerateDataKey has KMS make a data key that only this enclave can read now.
// Errors are those of Decrypt.
func (c *Client) GenerateDataKey(ctx context.Context, ec EncryptionContext) (DataKey, error) {
	if err := c.checkContext(ec); err != nil {
		return DataKey{}, err
	}
	key, recipient, err := c.recipient(ctx)
	if err != nil {
		return DataKey{}, err
	}
	out, err := c.opts.KMS.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId:             aws.String(c.opts.KeyID),
		KeySpec:           types.DataKeySpecAes256,
		EncryptionContext: maps.Clone(ec),
		Recipient:         recipient,
	})
	if err != nil {
		return DataKey{}, &KMSError{"GenerateDataKey", err}
	}
	plaintext, err := c.unwrap(key, out.KeyId, out.Plaintext, out.CiphertextForRecipient)
	if err != nil {
		return DataKey{}, err
	}
	if len(plaintext) != contentKeySize {
		clear(plaintext)
		return DataKey{}, ErrOpen
	}
	if len(out.CiphertextBlob) == 0 {
		clear(plaintext)
		return DataKey{}, &KMSError{"GenerateDataKey", errNoCiphertext}
	}
	return DataKey{Plaintext: plaintext, Ciphertext: out.CiphertextBlob}, nil
}

// recipient returns a key and how KMS is told of it.
func (c *Client) recipient(ctx context.Context) (recipientKey, *types.RecipientInfo, error) {
	if c.opts.Recipient == nil {
		return recipientKey{}, nil, ErrNoRecipient
	}
	key, err := c.opts.Recipient.key(ctx)
	if err != nil {
		return recipientKey{}, nil, err
	}
	return key, &types.RecipientInfo{
		AttestationDocument:    key.document,
		KeyEncryptionAlgorithm: types.KeyEncryptionMechanismRsaesOaepSha256,
	}, nil
}

// unwrap checks and opens the answer to an attested operation.
func (c *Client) unwrap(key recipientKey, keyID *string, plaintext, forRecipient []byte) ([]byte, error) {
	if err := checkAttested(plaintext, forRecipient); err != nil {
		return nil, err
	}
	if err := c.checkKey(keyID); err != nil {
		return nil, err
	}
	return key.unwrap(forRecipient)
}

// checkAttested refuses an answer that KMS did not encrypt to the recipient,
// and discards what it sent in clear.
func checkAttested(plaintext, forRecipient []byte) error {
	if len(plaintext) != 0 || len(forRecipient) == 0 {
		clear(plaintext)
		return ErrNotAttested
	}
	return nil
}

func (c *Client) check(input []byte, most int, ec EncryptionContext) error {
	if err := checkInput(input, most); err != nil {
		return err
	}
	return c.checkContext(ec)
}

func checkInput(input []byte, most int) error {
	switch {
	case len(input) == 0:
		return ErrEmpty
	case len(input) > most:
		return ErrTooLarge
	}
	return nil
}

func (c *Client) checkContext(ec EncryptionContext) error {
	if len(ec) == 0 && !c.opts.AllowNoContext {
		return ErrNoContext
	}
	return nil
}

func (c *Client) checkKey(keyID *string) error {
	if aws.ToString(keyID) != c.opts.KeyID {
		return ErrKeyMismatch
	}
	return nil
}

var errKeyARN = errors.New("envelope: KeyID must be the ARN of a KMS key (arn:aws:kms:REGION:ACCOUNT:key/ID)")

// isKeyARN reports whether s has the form arn:PARTITION:kms:REGION:ACCOUNT:key/ID.
func isKeyARN(s string) bool {
	f := strings.Split(s, ":")
	if len(f) != 6 || f[0] != "arn" || !strings.HasPrefix(f[1], "aws") || f[2] != "kms" || f[3] == "" || len(f[4]) != 12 {
		return false
	}
	// No part has other characters, and none may: it goes into a host name and
	// into error messages.
	for _, c := range s {
		if c <= ' ' || c > '~' {
			return false
		}
	}
	id, ok := strings.CutPrefix(f[5], "key/")
	return ok && id != ""
}
