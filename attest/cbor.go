package attest

import (
	"encoding/binary"
	"unicode/utf8"
)

// The CBOR major types that attestation documents use (RFC 8949, section 3.1).
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	majorTag   = 6
)

const (
	cborNull     = 0xf6
	cborBreak    = 0xff
	cborIndefMap = 0xbf
)

// reader reads CBOR in the one form that the NSM writes: definite lengths in
// their shortest encoding. It is a cursor over the input: it allocates
// nothing, compares every length with what is left before using it, and never
// recurses, so that no input can make it slow, deep or large. General decoders
// accept more than is wanted here (other encodings of the same value, other
// types that convert), and a verifier must not depend on what they tolerate.
type reader struct {
	rest []byte
}

// head reads the initial byte and argument of a data item of the wanted major
// type. It refuses indefinite and non-minimal forms (RFC 8949, section 4.2.1).
func (r *reader) head(major byte, what string) (uint64, error) {
	if len(r.rest) == 0 {
		return 0, malformed("cut off before %s", what)
	}
	if r.rest[0]>>5 != major {
		return 0, malformed("%s has CBOR major type %d, not %d", what, r.rest[0]>>5, major)
	}
	info := r.rest[0] & 0x1f
	if info < 24 {
		r.rest = r.rest[1:]
		return uint64(info), nil
	}
	if info > 27 {
		return 0, malformed("%s has an indefinite or reserved length", what)
	}
	size := 1 << (info - 24) // 1, 2, 4 or 8 bytes
	if len(r.rest) < 1+size {
		return 0, malformed("cut off in the length of %s", what)
	}
	var b [8]byte
	copy(b[8-size:], r.rest[1:1+size])
	v := binary.BigEndian.Uint64(b[:])
	var least uint64 = 24 // the smallest value that needs this form
	if size > 1 {
		least = 1 << (8 * (size / 2))
	}
	if v < least {
		return 0, malformed("%s has a length or value that is not in its shortest form", what)
	}
	r.rest = r.rest[1+size:]
	return v, nil
}

// str reads a byte or text string of lo to hi bytes, without copying it.
func (r *reader) str(major byte, what string, lo, hi int) ([]byte, error) {
	n, err := r.head(major, what)
	if err != nil {
		return nil, err
	}
	if n < uint64(lo) || n > uint64(hi) {
		return nil, malformed("%s has %d bytes, %d to %d are allowed", what, n, lo, hi)
	}
	if n > uint64(len(r.rest)) {
		return nil, malformed("%s is cut off", what)
	}
	s := r.rest[:n:n]
	r.rest = r.rest[n:]
	return s, nil
}

func (r *reader) bytes(what string, lo, hi int) ([]byte, error) {
	return r.str(majorBytes, what, lo, hi)
}

func (r *reader) text(what string, lo, hi int) (string, error) {
	s, err := r.str(majorText, what, lo, hi)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(s) {
		return "", malformed("%s is not UTF-8", what)
	}
	return string(s), nil
}

// next reports whether the next byte is b and, if so, consumes it.
func (r *reader) next(b byte) bool {
	if len(r.rest) == 0 || r.rest[0] != b {
		return false
	}
	r.rest = r.rest[1:]
	return true
}
