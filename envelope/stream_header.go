package envelope

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"

	"github.com/fxamacker/cbor/v2"
)

// streamMagic begins every sealed stream (FORMAT.md).
const streamMagic = "nsealed\n"

const (
	streamVersion = 1
	streamSuite   = 1 // AES-256-GCM with HKDF-SHA-256, in segments

	// streamPreamble is the magic and the header's length, in bytes.
	streamPreamble = len(streamMagic) + 4
	// maxStreamHeader bounds the CBOR header, in bytes. KMS lets wrapped keys
	// be of 6,144 bytes; the rest is for the encryption context.
	maxStreamHeader = 32 << 10
	// maxContextPairs bounds the encryption context of a stream.
	maxContextPairs = 128
	// maxKeyARN bounds the key's ARN, in bytes (AWS KMS API Reference,
	// Decrypt, KeyId).
	maxKeyARN = 2048
)

// Segment sizes, in bytes of ciphertext: those of the key templates
// AES256_GCM_HKDF_1MB and AES256_GCM_HKDF_4KB of Tink.
const (
	segment1MB = 1 << 20
	segment4KB = 4 << 10
)

// StreamHeader is what a sealed stream says of itself in clear. Until the
// stream was opened with its key, anyone may have written it.
type StreamHeader struct {
	// KeyID is the ARN of the KMS key.
	KeyID string
	// WrappedKey is the data key under that KMS key, for Decrypt.
	WrappedKey []byte
	// Context is the encryption context of WrappedKey.
	Context EncryptionContext
	// SegmentSize is how much is encrypted at a time, in bytes of ciphertext.
	SegmentSize int
}

// wireHeader is the header's CBOR map (FORMAT.md).
type wireHeader struct {
	Version     uint64            `cbor:"1,keyasint"`
	Suite       uint64            `cbor:"2,keyasint"`
	KeyARN      string            `cbor:"3,keyasint"`
	WrappedKey  []byte            `cbor:"4,keyasint"`
	Context     map[string]string `cbor:"5,keyasint"`
	SegmentSize uint64            `cbor:"6,keyasint"`
}

// ReadStreamHeader reads the header of a sealed stream from r, and no byte
// more, so that somebody without the key can see which one it takes: at most
// 32 KiB. Errors are ErrStream and those of r.
func ReadStreamHeader(r io.Reader) (StreamHeader, error) {
	h, _, err := readStreamHeader(r)
	return h, err
}

// readStreamHeader also returns the header's CBOR.
func readStreamHeader(r io.Reader) (StreamHeader, []byte, error) {
	if r == nil {
		return StreamHeader{}, nil, errNoReader
	}
	var preamble [streamPreamble]byte
	if err := readHeaderBytes(r, preamble[:]); err != nil {
		return StreamHeader{}, nil, err
	}
	if string(preamble[:len(streamMagic)]) != streamMagic {
		return StreamHeader{}, nil, headerError("this is no sealed stream")
	}
	size := binary.BigEndian.Uint32(preamble[len(streamMagic):])
	if size == 0 || size > maxStreamHeader {
		return StreamHeader{}, nil, headerError("its length is out of range")
	}
	raw := make([]byte, size)
	if err := readHeaderBytes(r, raw); err != nil {
		return StreamHeader{}, nil, err
	}
	h, err := parseStreamHeader(raw)
	if err != nil {
		return StreamHeader{}, nil, err
	}
	return h, raw, nil
}

// readHeaderBytes fills b. An end before that is a stream cut short.
func readHeaderBytes(r io.Reader, b []byte) error {
	switch _, err := io.ReadFull(r, b); {
	case err == nil:
		return nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return headerError("cut short")
	default:
		return fmt.Errorf("envelope: reading a sealed stream: %w", err)
	}
}

// parseStreamHeader accepts the one encoding that marshalStreamHeader gives:
// what decodes is encoded again, and must give the same bytes.
func parseStreamHeader(raw []byte) (StreamHeader, error) {
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		MaxNestedLevels:   4,
		MaxMapPairs:       maxContextPairs,
		MaxArrayElements:  16,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		return StreamHeader{}, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	var w wireHeader
	if err := mode.Unmarshal(raw, &w); err != nil {
		return StreamHeader{}, headerError("not the CBOR of a header")
	}
	switch {
	case w.Version != streamVersion:
		return StreamHeader{}, headerError("unknown version")
	case w.Suite != streamSuite:
		return StreamHeader{}, headerError("unknown suite")
	case len(w.KeyARN) > maxKeyARN || !isKeyARN(w.KeyARN):
		return StreamHeader{}, headerError("not a key ARN")
	case len(w.WrappedKey) == 0 || len(w.WrappedKey) > maxCiphertext:
		return StreamHeader{}, headerError("a wrapped key of a length that KMS does not take")
	case w.SegmentSize != segment1MB && w.SegmentSize != segment4KB:
		return StreamHeader{}, headerError("unknown segment size")
	}
	again, err := encodeHeader(w)
	if err != nil || !bytes.Equal(again, raw) {
		return StreamHeader{}, headerError("not the deterministic CBOR of a header")
	}
	return StreamHeader{KeyID: w.KeyARN, WrappedKey: w.WrappedKey, Context: w.Context, SegmentSize: int(w.SegmentSize)}, nil
}

// marshalStreamHeader returns the header's CBOR.
func marshalStreamHeader(h StreamHeader) ([]byte, error) {
	if len(h.Context) > maxContextPairs {
		return nil, ErrTooLarge
	}
	raw, err := encodeHeader(wireHeader{
		Version: streamVersion, Suite: streamSuite, KeyARN: h.KeyID,
		WrappedKey: h.WrappedKey, Context: h.Context, SegmentSize: uint64(h.SegmentSize),
	})
	if err != nil {
		return nil, err
	}
	if len(raw) > maxStreamHeader {
		return nil, ErrTooLarge
	}
	// What cannot be read must not be written: a context that is not UTF-8,
	// for example.
	if _, err := parseStreamHeader(raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// encodeHeader is core deterministic encoding (RFC 8949, section 4.2.1).
func encodeHeader(w wireHeader) ([]byte, error) {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty
	mode, err := opts.EncMode()
	if err != nil {
		return nil, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	raw, err := mode.Marshal(w)
	if err != nil {
		return nil, fmt.Errorf("envelope: sealed stream: %w", err)
	}
	return raw, nil
}

// framed puts magic and length before the header.
func framed(raw []byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte(streamMagic), uint32(len(raw)))
	return append(b, raw...)
}

func sameContext(a, b EncryptionContext) bool { return maps.Equal(a, b) }
