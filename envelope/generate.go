package envelope

import (
	"context"
	"errors"
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

// maxRandom is how much GenerateRandom gives in one call, in bytes (AWS KMS
// API Reference, GenerateRandom).
const maxRandom = 1024

// GenerateRandom returns n bytes, 1 to 1,024, from the random number
// generators of KMS, readable by this enclave only. It uses no key.
//
// Errors: ErrTooLarge, ErrNoRecipient, ErrNotAttested, ErrOpen, *KMSError.
func (c *Client) GenerateRandom(ctx context.Context, n int) ([]byte, error) {
	switch {
	case n < 1:
		return nil, ErrEmpty
	case n > maxRandom:
		return nil, ErrTooLarge
	}
	key, recipient, err := c.recipient(ctx)
	if err != nil {
		return nil, err
	}
	out, err := c.opts.KMS.GenerateRandom(ctx, &kms.GenerateRandomInput{NumberOfBytes: aws.Int32(int32(n)), Recipient: recipient})
	if err != nil {
		return nil, &KMSError{"GenerateRandom", err}
	}
	if err := checkAttested(out.Plaintext, out.CiphertextForRecipient); err != nil {
		return nil, err
	}
	plaintext, err := key.unwrap(out.CiphertextForRecipient)
	if err != nil {
		return nil, err
	}
	if len(plaintext) != n {
		clear(plaintext)
		return nil, ErrOpen
	}
	return plaintext, nil
}

// KeyPair is an asymmetric key pair.
type KeyPair struct {
	// Private is the private key, a DER-encoded PKCS #8 PrivateKeyInfo (RFC
	// 5958). Clear it when done.
	Private []byte
	// Public is its DER-encoded SubjectPublicKeyInfo (RFC 5280).
	Public []byte
	// Ciphertext is Private under the KMS key, for Decrypt with the same
	// encryption context.
	Ciphertext []byte
}

// GenerateDataKeyPair has KMS make a key pair whose private half only this
// enclave can read now. Errors are those of Decrypt.
func (c *Client) GenerateDataKeyPair(ctx context.Context, spec types.DataKeyPairSpec, ec EncryptionContext) (KeyPair, error) {
	if err := c.checkContext(ec); err != nil {
		return KeyPair{}, err
	}
	key, recipient, err := c.recipient(ctx)
	if err != nil {
		return KeyPair{}, err
	}
	out, err := c.opts.KMS.GenerateDataKeyPair(ctx, &kms.GenerateDataKeyPairInput{
		KeyId:             aws.String(c.opts.KeyID),
		KeyPairSpec:       spec,
		EncryptionContext: maps.Clone(ec),
		Recipient:         recipient,
	})
	if err != nil {
		return KeyPair{}, &KMSError{"GenerateDataKeyPair", err}
	}
	private, err := c.unwrap(key, out.KeyId, out.PrivateKeyPlaintext, out.CiphertextForRecipient)
	if err != nil {
		return KeyPair{}, err
	}
	if len(out.PublicKey) == 0 || len(out.PrivateKeyCiphertextBlob) == 0 {
		clear(private)
		return KeyPair{}, &KMSError{"GenerateDataKeyPair", errors.New("the answer is incomplete")}
	}
	return KeyPair{Private: private, Public: out.PublicKey, Ciphertext: out.PrivateKeyCiphertextBlob}, nil
}

// DeriveSharedSecret has KMS do an elliptic-curve Diffie-Hellman between the
// Client's key, which must be one for key agreement, and somebody's public
// key, a DER-encoded SubjectPublicKeyInfo on the same curve. Only this enclave
// can read the result, which is raw: put it through a key derivation function
// (NIST SP 800-56A). KMS takes no encryption context here.
//
// Errors are those of Decrypt.
func (c *Client) DeriveSharedSecret(ctx context.Context, publicKey []byte) ([]byte, error) {
	if err := checkInput(publicKey, maxCiphertext); err != nil {
		return nil, err
	}
	key, recipient, err := c.recipient(ctx)
	if err != nil {
		return nil, err
	}
	out, err := c.opts.KMS.DeriveSharedSecret(ctx, &kms.DeriveSharedSecretInput{
		KeyId:                 aws.String(c.opts.KeyID),
		KeyAgreementAlgorithm: types.KeyAgreementAlgorithmSpecEcdh,
		PublicKey:             publicKey,
		Recipient:             recipient,
	})
	if err != nil {
		return nil, &KMSError{"DeriveSharedSecret", err}
	}
	return c.unwrap(key, out.KeyId, out.SharedSecret, out.CiphertextForRecipient)
}
