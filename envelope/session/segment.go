package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"

	"github.com/nitroseal/nitroseal/internal/secret"
)

// MaxMessage bounds one message of an answer, in bytes.
const MaxMessage = 1 << 20

const (
	// responseNonce is the length of the enclave's part of the answer's key.
	responseNonce = 32
	// responseHeader is what comes before the first segment.
	responseHeader = magicSize + responseNonce
	// segmentHeader is a flag and a number.
	segmentHeader = 1 + 4
	// innerHeader is the kind and the length of a segment's content.
	innerHeader = 1 + 4
	// MaxSegment bounds one segment as it travels, in bytes.
	MaxSegment = MaxMessage + 8<<10
	// maxPad is the largest padding step of answers, in bytes.
	maxPad = 4 << 10

	flagLast = 1
	gcmNonce = 12
)

// Kinds of content.
const (
	kindMessage = 1 // a message of the application
	kindEnd     = 2 // nothing: the answer ends
	kindError   = 3 // a RemoteError in CBOR: the answer ends
)

// exporter is the secret that both sides of one request share: the HPKE
// context (RFC 9180, section 5.3).
type exporter interface {
	Export(context string, length int) ([]byte, error)
}

// IsLast reports whether a segment, as it travels, says that it is the last of
// its answer; first says that it is the first. It is for transports, which may
// then let the connection end in good order: only opening the segment tells
// whether that is true.
func IsLast(segment []byte, first bool) bool {
	if first {
		if len(segment) < responseHeader {
			return false
		}
		segment = segment[responseHeader:]
	}
	return len(segment) > 0 && segment[0] == flagLast
}

// sequence seals or opens the segments of one answer.
type sequence struct {
	aead  cipher.AEAD
	base  [gcmNonce]byte
	next  uint32
	ended bool
}

// newSequence derives the key of the answer to one request from what both
// sides share, from the request as it travelled, and from a nonce of the
// enclave's. With the last, even a request that were opened twice would have
// its answers under different keys.
func newSequence(export exporter, request [sha512.Size384]byte, nonce []byte) (*sequence, error) {
	s := &sequence{}
	var err error
	secret.Do(func() {
		var shared, prk, key, base []byte
		if shared, err = export.Export(labelResponse, sha256.Size); err != nil {
			return
		}
		defer clear(shared)
		salt := append(append([]byte(nil), nonce...), request[:]...)
		if prk, err = hkdf.Extract(sha256.New, shared, salt); err != nil {
			return
		}
		defer clear(prk)
		if key, err = hkdf.Expand(sha256.New, prk, "key", 32); err != nil {
			return
		}
		defer clear(key)
		if base, err = hkdf.Expand(sha256.New, prk, "nonce", gcmNonce); err != nil {
			return
		}
		copy(s.base[:], base)
		var block cipher.Block
		if block, err = aes.NewCipher(key); err != nil {
			return
		}
		s.aead, err = cipher.NewGCM(block)
	})
	if err != nil {
		return nil, fmt.Errorf("session: deriving the answer's key: %w", err)
	}
	return s, nil
}

// requestDigest is what an answer is bound to.
func requestDigest(message []byte) [sha512.Size384]byte {
	return digestOf(labelRequest, message)
}

// nonce of a segment: the base with flag and number over its last five bytes.
func (s *sequence) nonce(head []byte) []byte {
	n := s.base
	for i, b := range head {
		n[gcmNonce-segmentHeader+i] ^= b
	}
	return n[:]
}

// seal appends the next segment to dst. With pad above 0 its content is padded
// to a multiple of pad.
func (s *sequence) seal(dst []byte, kind byte, content []byte, last bool, pad int) ([]byte, error) {
	if s.ended {
		return nil, ErrEnded
	}
	if len(content) > MaxMessage {
		return nil, fmt.Errorf("%w: message of %d bytes, at most %d", ErrTooLarge, len(content), MaxMessage)
	}
	if s.next == 1<<32-1 {
		return nil, fmt.Errorf("%w: too many segments", ErrTooLarge)
	}
	size := innerHeader + len(content)
	if pad > 0 {
		size = (size + pad - 1) / pad * pad
	}
	start := len(dst)
	var flag byte
	if last {
		flag = flagLast
	}
	dst = append(dst, flag)
	dst = binary.BigEndian.AppendUint32(dst, s.next)
	head := dst[start : start+segmentHeader]

	plaintext := make([]byte, size, size+tagSize)
	plaintext[0] = kind
	binary.BigEndian.PutUint32(plaintext[1:], uint32(len(content)))
	copy(plaintext[innerHeader:], content)
	dst = append(dst, s.aead.Seal(plaintext[:0], s.nonce(head), plaintext, head)...)
	s.next++
	s.ended = last
	return dst, nil
}

// open opens the next segment. The content is the caller's.
func (s *sequence) open(segment []byte) (kind byte, content []byte, last bool, err error) {
	if s.ended {
		return 0, nil, false, fmt.Errorf("%w: behind the last", ErrOrder)
	}
	if len(segment) < segmentHeader+innerHeader+tagSize || len(segment) > MaxSegment || segment[0] > flagLast {
		return 0, nil, false, fmt.Errorf("%w: not of the documented form", ErrSegment)
	}
	head := segment[:segmentHeader]
	plaintext, err := s.aead.Open(nil, s.nonce(head), segment[segmentHeader:], head)
	if err != nil {
		return 0, nil, false, ErrSegment
	}
	// The number is authentic from here on, so that this is a genuine segment
	// of this answer in the wrong place.
	if n := binary.BigEndian.Uint32(head[1:]); n != s.next {
		clear(plaintext)
		return 0, nil, false, fmt.Errorf("%w: number %d came where %d was expected", ErrOrder, n, s.next)
	}
	kind, content, err = unwrapContent(plaintext)
	if err != nil {
		clear(plaintext)
		return 0, nil, false, err
	}
	last = segment[0] == flagLast
	if !last && kind != kindMessage {
		clear(plaintext)
		return 0, nil, false, fmt.Errorf("%w: an end that is not the last segment", ErrSegment)
	}
	s.next++
	s.ended = last
	return kind, content, last, nil
}

// unwrapContent splits a segment's plaintext, whose padding must be zero.
func unwrapContent(plaintext []byte) (kind byte, content []byte, err error) {
	kind = plaintext[0]
	n := binary.BigEndian.Uint32(plaintext[1:])
	rest := plaintext[innerHeader:]
	if kind < kindMessage || kind > kindError || uint64(n) > uint64(len(rest)) || n > MaxMessage || kind == kindEnd && n != 0 {
		return 0, nil, fmt.Errorf("%w: not of the documented form", ErrSegment)
	}
	for _, b := range rest[n:] {
		if b != 0 {
			return 0, nil, fmt.Errorf("%w: not of the documented form", ErrSegment)
		}
	}
	return kind, rest[:n:n], nil
}
