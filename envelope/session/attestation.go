package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Magic numbers: each message says what it is, and in which version.
const (
	magicAttestRequest = "NSA1"
	magicAttestAnswer  = "NSB1"
	magicRequest       = "NSQ1"
	magicResponse      = "NSR1"
	magicSize          = 4
)

const (
	// NonceSize is the length of the client's nonce in an attestation request.
	NonceSize = 32
	// AttestRequestSize is the length of an attestation request.
	AttestRequestSize = magicSize + NonceSize
	// MaxAttestAnswer bounds the answer to one, in bytes.
	MaxAttestAnswer = 64 << 10
)

func marshalAttestRequest(nonce [NonceSize]byte) []byte {
	return append([]byte(magicAttestRequest), nonce[:]...)
}

func parseAttestRequest(b []byte) (nonce [NonceSize]byte, err error) {
	if len(b) != AttestRequestSize || string(b[:magicSize]) != magicAttestRequest {
		return nonce, fmt.Errorf("%w: no attestation request", ErrMalformed)
	}
	return [NonceSize]byte(b[magicSize:]), nil
}

func marshalAttestAnswer(config, document []byte) ([]byte, error) {
	size := magicSize + 2 + len(config) + len(document)
	if len(config) > maxConfig || size > MaxAttestAnswer {
		return nil, fmt.Errorf("%w: attestation answer of %d bytes", ErrTooLarge, size)
	}
	b := make([]byte, 0, size)
	b = append(b, magicAttestAnswer...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(config)))
	b = append(b, config...)
	return append(b, document...), nil
}

// parseAttestAnswer splits an answer. It verifies nothing.
func parseAttestAnswer(b []byte) (config, document []byte, err error) {
	malformed := fmt.Errorf("%w: no answer to an attestation request", ErrMalformed)
	if len(b) > MaxAttestAnswer || len(b) < magicSize+2 || string(b[:magicSize]) != magicAttestAnswer {
		return nil, nil, malformed
	}
	n := int(binary.BigEndian.Uint16(b[magicSize:]))
	rest := b[magicSize+2:]
	if n == 0 || n > maxConfig || len(rest) <= n {
		return nil, nil, malformed
	}
	return bytes.Clone(rest[:n]), bytes.Clone(rest[n:]), nil
}

// AttestationKeyID returns the name of the key in an answer to an attestation
// request, without verifying anything: it is how a parent with several enclaves
// knows which of them has a key.
//
// Errors: ErrMalformed, ErrConfig.
func AttestationKeyID(answer []byte) (KeyID, error) {
	raw, _, err := parseAttestAnswer(answer)
	if err != nil {
		return KeyID{}, err
	}
	if _, err := parseConfig(raw); err != nil {
		return KeyID{}, err
	}
	return keyIDOf(digestOf(labelConfig, raw)), nil
}
