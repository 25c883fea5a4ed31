package envelope

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
)

// seal makes a message with the content key, and wraps another in its place.
func seal(t testing.TB, key *rsa.PrivateKey, contentKey, wrapped, padded []byte) *envelopedData {
	t.Helper()
	encryptedKey, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, wrapped, nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := aes.NewCipher(contentKey)
	if err != nil {
		t.Fatal(err)
	}
	m := &envelopedData{encryptedKey: encryptedKey, iv: make([]byte, blockSize), ciphertext: make([]byte, len(padded))}
	cipher.NewCBCEncrypter(block, m.iv).CryptBlocks(m.ciphertext, padded)
	return m
}

// A content key that was not decrypted must not turn into one that a forger
// knows: not into zeros, nor into a short key padded with zeros.
func TestOpenContinuesWithRandomKey(t *testing.T) {
	key := readKey(t, "cms/keys/rsa2048.key.pem")
	padded := append(make([]byte, 16), bytes.Repeat([]byte{16}, 16)...)
	zero := make([]byte, contentKeySize)
	short := append(bytes.Repeat([]byte{7}, 16), make([]byte, 16)...)
	long := bytes.Repeat([]byte{7}, 33)

	badOAEP := seal(t, key, zero, zero, padded)
	badOAEP.encryptedKey[100] ^= 1
	huge := seal(t, key, zero, zero, padded)
	huge.encryptedKey = bytes.Repeat([]byte{0xff}, len(huge.encryptedKey))
	for name, m := range map[string]*envelopedData{
		"bad OAEP, content under zeros":   badOAEP,
		"no residue, content under zeros": huge,
		"16-byte key, padded with zeros":  seal(t, key, short, short[:16], padded),
		"no key at all":                   seal(t, key, zero, nil, padded),
		"33-byte key, cut":                seal(t, key, long[:32], long, padded),
	} {
		if got, err := m.open(key); err != ErrOpen || got != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	if got, err := seal(t, key, long[:32], long[:32], padded).open(key); err != nil || !bytes.Equal(got, padded[:16]) {
		t.Errorf("the good one: %x, %v", got, err)
	}
}

func TestUnwrapWithoutKey(t *testing.T) {
	message := read(t, "cms/valid/kmslike-rsa2048-32.cms")
	for _, key := range []*rsa.PrivateKey{nil, {}} {
		if _, err := UnwrapCMS(key, message, UnwrapOptions{}); err != ErrOpen {
			t.Errorf("%v: %v", key, err)
		}
	}
}

// BenchmarkOpen compares what must take the same time, with the RSA operation
// alone beside it.
func BenchmarkOpen(b *testing.B) {
	key := readKey(b, "cms/keys/rsa2048.key.pem")
	contentKey := bytes.Repeat([]byte{7}, contentKeySize)
	padded := bytes.Repeat([]byte{16}, 48)
	good := seal(b, key, contentKey, contentKey, padded)
	badOAEP := seal(b, key, contentKey, contentKey, padded)
	badOAEP.encryptedKey[100] ^= 1
	for name, m := range map[string]*envelopedData{
		"good": good, "bad-oaep": badOAEP,
		"bad-padding": seal(b, key, contentKey, contentKey, make([]byte, 48)),
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = m.open(key)
			}
		})
	}
	b.Run("floor-rsa", func(b *testing.B) {
		for b.Loop() {
			_, _ = rsa.DecryptOAEP(sha256.New(), nil, key, good.encryptedKey, nil)
		}
	})
}

// Under a random key one padding in 256 or so looks right; that must not make
// garbage a plaintext. An encrypted key of the wrong size fails without an RSA
// operation, so that many can be tried.
func TestOpenNeverReturnsGarbage(t *testing.T) {
	key := readKey(t, "cms/keys/rsa2048.key.pem")
	zero := make([]byte, contentKeySize)
	m := seal(t, key, zero, zero, bytes.Repeat([]byte{16}, 32))
	m.encryptedKey = append(m.encryptedKey, 0)
	for range 5000 { // misses a fault with a probability of 3 in 10⁹
		if got, err := m.open(key); err != ErrOpen || got != nil {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
}

func TestBERDepth(t *testing.T) {
	nested := func(levels int) []byte {
		b := bytes.Repeat([]byte{tagSequence, 0x80}, levels)
		return append(b, make([]byte, 2*levels)...)
	}
	if _, rest, err := readElement(nested(maxBERDepth+1), 0); err != nil || len(rest) != 0 {
		t.Errorf("%d levels: %v", maxBERDepth+1, err)
	}
	for _, levels := range []int{maxBERDepth + 2, 1 << 20} {
		if _, _, err := readElement(nested(levels), 0); err == nil {
			t.Errorf("%d levels: accepted", levels)
		}
	}
}
