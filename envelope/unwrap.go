package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"

	"github.com/nitroseal/nitroseal/internal/secret"
)

// UnwrapOptions says what UnwrapCMS accepts beyond what KMS sends.
type UnwrapOptions struct {
	// AnyRecipientID accepts messages whose recipient identifier is not the
	// SHA-256 of the key's SubjectPublicKeyInfo, as OpenSSL makes them: 20
	// bytes from a certificate, or issuer and serial number.
	AnyRecipientID bool
}

const (
	contentKeySize = 32 // AES-256
	blockSize      = aes.BlockSize
)

// UnwrapCMS opens a CMS EnvelopedData, such as KMS answers in
// CiphertextForRecipient, with the recipient's private key: BER or DER, one
// KeyTransRecipientInfo for this key, RSAES-OAEP with SHA-256, AES-256-CBC
// (RFC 5652; AWS KMS developer guide, "Cryptographic attestation support").
// At most 4 MiB are taken.
//
// Every failure is ErrOpen. When the content key cannot be decrypted, the
// content is decrypted with a random one all the same, so that neither error
// nor time tells the steps apart (RFC 3218, section 2.3). A forger who is told
// that a message did not open still learns that much: CBC has no
// authentication, so do not let strangers submit messages in large numbers.
// UnwrapCMS is safe for concurrent use with one key.
func UnwrapCMS(key *rsa.PrivateKey, message []byte, opts UnwrapOptions) ([]byte, error) {
	if key == nil || key.N == nil {
		return nil, ErrOpen
	}
	m, err := parseEnvelopedData(message)
	if err != nil {
		return nil, ErrOpen
	}
	if !opts.AnyRecipientID {
		id, err := keyIdentifier(&key.PublicKey)
		if err != nil || subtle.ConstantTimeCompare(id, m.recipient.ski) != 1 {
			return nil, ErrOpen
		}
	}
	return m.open(key)
}

// open decrypts, leaving no copy of content key and plaintext behind where
// package secret can see to that.
func (m *envelopedData) open(key *rsa.PrivateKey) (plaintext []byte, err error) {
	secret.Do(func() { plaintext, err = m.decrypt(key) })
	return plaintext, err
}

// decrypt takes the same steps whatever the secrets are, but for the length of
// the plaintext at the end.
func (m *envelopedData) decrypt(key *rsa.PrivateKey) ([]byte, error) {
	var contentKey, random [contentKeySize]byte
	defer clear(contentKey[:])
	defer clear(random[:])
	rand.Read(random[:])

	decrypted, err := rsa.DecryptOAEP(sha256.New(), nil, key, m.encryptedKey, nil)
	good := subtle.ConstantTimeEq(int32(len(decrypted)), contentKeySize)
	if err != nil {
		good = 0
	}
	copy(contentKey[:], decrypted)
	clear(decrypted)
	subtle.ConstantTimeCopy(1-good, contentKey[:], random[:])

	block, err := aes.NewCipher(contentKey[:])
	if err != nil {
		return nil, ErrOpen
	}
	plaintext := make([]byte, len(m.ciphertext))
	cipher.NewCBCDecrypter(block, m.iv).CryptBlocks(plaintext, m.ciphertext)
	n, padded := unpad(plaintext)
	if good&padded != 1 {
		clear(plaintext)
		return nil, ErrOpen
	}
	return plaintext[:n:n], nil
}

// unpad checks the padding of RFC 5652, section 6.3, in constant time: 1 to 16
// bytes, each telling how many there are. It returns the length without them,
// and 1 if they are right.
func unpad(b []byte) (n, ok int) {
	last := b[len(b)-blockSize:]
	pad := int(last[blockSize-1])
	ok = subtle.ConstantTimeLessOrEq(1, pad) & subtle.ConstantTimeLessOrEq(pad, blockSize)
	for i, c := range last {
		inside := subtle.ConstantTimeLessOrEq(blockSize-i, pad)
		ok &= subtle.ConstantTimeSelect(inside, subtle.ConstantTimeByteEq(c, byte(pad)), 1)
	}
	return len(b) - pad, ok
}
