package envelope

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"math"

	"github.com/nitroseal/nitroseal/internal/secret"
)

// The body is Tink's AES-GCM-HKDF streaming AEAD (Tink documentation, "AES-GCM-
// HKDF Streaming AEAD"). It begins with 40 bytes: their number, a salt and a
// nonce prefix.
const (
	bodyHeaderSize  = 1 + saltSize + noncePrefixSize
	saltSize        = 32 // that of the derived key
	noncePrefixSize = 7
	nonceSize       = 12
	tagSize         = 16
	maxSegment      = math.MaxUint32 // the number of the last one possible
)

// segmentCipher seals and opens single segments. It is safe for concurrent use.
type segmentCipher struct {
	aead   cipher.AEAD
	prefix [noncePrefixSize]byte
}

// newSegmentCipher derives the key of a body, whose first 40 bytes are given,
// under a header. The expanded key is erased with the cipher where package
// secret can see to that.
func newSegmentCipher(dataKey, header []byte, body [bodyHeaderSize]byte) (c *segmentCipher, err error) {
	secret.Do(func() { c, err = deriveSegmentCipher(dataKey, header, body) })
	return c, err
}

func deriveSegmentCipher(dataKey, header []byte, body [bodyHeaderSize]byte) (*segmentCipher, error) {
	associated := sha256.Sum256(header)
	key, err := hkdf.Key(sha256.New, dataKey, body[1:1+saltSize], string(associated[:]), contentKeySize)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &segmentCipher{aead, [noncePrefixSize]byte(body[1+saltSize:])}, nil
}

// nonce is prefix, number and whether the segment is the last. So a segment
// opens only in its own place, and only the last one at the end.
func (c *segmentCipher) nonce(number int64, last bool) []byte {
	n := make([]byte, 0, nonceSize)
	n = append(n, c.prefix[:]...)
	n = binary.BigEndian.AppendUint32(n, uint32(number))
	if last {
		return append(n, 1)
	}
	return append(n, 0)
}

// segment is one segment on its way through a goroutine.
type segment struct {
	number int64
	last   bool
	buf    []byte // plaintext or ciphertext, in place
	done   chan struct{}
	err    error
}

// seal encrypts in place; the buffer must have room for the tag.
func (s *segment) seal(c *segmentCipher) {
	s.buf = c.aead.Seal(s.buf[:0], c.nonce(s.number, s.last), s.buf, nil)
	close(s.done)
}

// open decrypts in place. When it fails, the buffer holds zeros.
func (s *segment) open(c *segmentCipher) {
	defer close(s.done)
	if reason := wrongSize(s.number, len(s.buf)); reason != "" {
		s.err = &StreamError{s.number, reason}
		return
	}
	plain, err := c.aead.Open(s.buf[:0], c.nonce(s.number, s.last), s.buf, nil)
	if err != nil {
		clear(s.buf)
		s.err = &StreamError{s.number, "not authentic in this place"}
		return
	}
	s.buf = plain
}

// wrongSize tells what is wrong with a segment of n bytes. Only an empty stream
// has an empty segment, so that every plaintext has one length of ciphertext.
func wrongSize(number int64, n int) string {
	switch {
	case n < tagSize:
		return "cut short"
	case n == tagSize && number > 0:
		return "empty"
	case number > maxSegment:
		return "one too many"
	}
	return ""
}

// sealedSize is how many bytes of ciphertext a full segment has. The first one
// makes room for the 40 bytes at the beginning.
func sealedSize(number int64, segmentSize int) int {
	if number == 0 {
		return segmentSize - bodyHeaderSize
	}
	return segmentSize
}
