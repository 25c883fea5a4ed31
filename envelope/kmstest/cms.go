package kmstest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/hex"
)

// The constant parts of what KMS sends, as it sends them: indefinite lengths
// outside, definite ones in the RecipientInfo (RFC 5652, section 6; X.690).
var (
	cmsHead = mustHex("3080" + "06092a864886f70d010703" + // ContentInfo, envelopedData
		"a080" + "3080" + "020102") // [0], EnvelopedData, version 2
	cmsKeyAlg = mustHex("303c" + "06092a864886f70d010107" + "302f" + // RSAES-OAEP
		"a00f300d06096086480165030402010500" + // SHA-256, NULL
		"a11c301a" + "06092a864886f70d010108" + "300d06096086480165030402010500") // MGF1, SHA-256, NULL
	cmsContentAlg = mustHex("3080" + "06092a864886f70d010701" + // EncryptedContentInfo, data
		"301d" + "060960864801650304012a" + "0410") // AES-256-CBC; the IV follows
	cmsTail = make([]byte, 5*2) // the end of five indefinite lengths
)

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // the constants above
	}
	return b
}

// sealForRecipient encrypts plaintext to the key, as CiphertextForRecipient.
// spki is the DER of the key's SubjectPublicKeyInfo.
func sealForRecipient(key *rsa.PublicKey, spki, plaintext []byte) ([]byte, error) {
	var contentKey [32]byte
	var iv [aes.BlockSize]byte
	rand.Read(contentKey[:])
	rand.Read(iv[:])
	defer clear(contentKey[:])
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, key, contentKey[:], nil)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(contentKey[:])
	if err != nil {
		return nil, err
	}
	pad := aes.BlockSize - len(plaintext)%aes.BlockSize
	content := append(bytes.Clone(plaintext), bytes.Repeat([]byte{byte(pad)}, pad)...)
	cipher.NewCBCEncrypter(block, iv[:]).CryptBlocks(content, content)

	ski := sha256.Sum256(spki)
	var ktri []byte
	ktri = append(ktri, 0x02, 0x01, 0x02) // version 2
	ktri = append(ktri, tlv(0x80, ski[:])...)
	ktri = append(ktri, cmsKeyAlg...)
	ktri = append(ktri, tlv(0x04, encryptedKey)...)

	out := bytes.Clone(cmsHead)
	out = append(out, tlv(0x31, tlv(0x30, ktri))...)
	out = append(out, cmsContentAlg...)
	out = append(out, iv[:]...)
	out = append(out, 0xa0, 0x80) // [0] encryptedContent, constructed
	out = append(out, tlv(0x04, content)...)
	return append(out, cmsTail...), nil
}

// tlv encodes an element with the shortest definite length.
func tlv(tag byte, content []byte) []byte {
	n := len(content)
	switch {
	case n < 0x80:
		return append([]byte{tag, byte(n)}, content...)
	case n < 0x100:
		return append([]byte{tag, 0x81, byte(n)}, content...)
	}
	// KMS's limit of 4,096 bytes keeps every length below 64 KiB.
	return append([]byte{tag, 0x82, byte(n >> 8), byte(n)}, content...)
}
