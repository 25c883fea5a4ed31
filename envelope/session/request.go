package session

import (
	"crypto/hpke"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/bits"
	"time"

	"github.com/nitroseal/nitroseal/internal/secret"
)

// MaxPayload bounds the payload of one request, in bytes.
const MaxPayload = 3 << 20

const (
	// requestIDSize is the length of a request's id.
	requestIDSize = 16
	// requestHeader is the length of a request up to its encapsulation.
	requestHeader = magicSize + KeyIDSize + requestIDSize + 8 + 2
	// minPadded is the smallest padded payload.
	minPadded = 1 << 10
	tagSize   = 16
	// MaxRequest bounds a sealed request, in bytes: payload, padding of at
	// most an eighth, header, encapsulation and tag.
	MaxRequest = MaxPayload + MaxPayload/8 + 4<<10
)

// RequestID names one request. It is random, and not secret: the parent sees
// it.
type RequestID [requestIDSize]byte

// String is the id in 32 lower-case hexadecimal digits.
func (id RequestID) String() string { return hex.EncodeToString(id[:]) }

// header is what a request says of itself in clear. All of it is associated
// data of the encryption.
type header struct {
	key    KeyID
	id     RequestID
	issued time.Time // whole milliseconds
}

// appendHeader appends the header, with the encapsulation's length.
func (h header) append(b []byte, encapsulation int) []byte {
	b = append(b, magicRequest...)
	b = append(b, h.key[:]...)
	b = append(b, h.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(h.issued.UnixMilli()))
	return binary.BigEndian.AppendUint16(b, uint16(encapsulation))
}

// parsedRequest is a request that was not opened yet. Its slices are parts of
// the message.
type parsedRequest struct {
	header
	associated []byte // everything before the ciphertext
	enc        []byte
	ciphertext []byte
}

func parseRequest(b []byte) (parsedRequest, error) {
	malformed := fmt.Errorf("%w: no request", ErrMalformed)
	if len(b) > MaxRequest || len(b) < requestHeader || string(b[:magicSize]) != magicRequest {
		return parsedRequest{}, malformed
	}
	var p parsedRequest
	rest := b[magicSize:]
	p.key, rest = KeyID(rest), rest[KeyIDSize:]
	p.id, rest = RequestID(rest), rest[requestIDSize:]
	millis := binary.BigEndian.Uint64(rest)
	n := int(binary.BigEndian.Uint16(rest[8:]))
	rest = rest[10:]
	if millis > maxUnix*1000 || n == 0 || len(rest) < n+4+tagSize {
		return parsedRequest{}, malformed
	}
	p.issued = time.UnixMilli(int64(millis))
	p.enc, p.ciphertext = rest[:n], rest[n:]
	p.associated = b[:requestHeader+n]
	return p, nil
}

// RequestKeyID returns the name of the key that a sealed request is for, which
// is all that a parent with several enclaves needs to know.
//
// Errors: ErrMalformed.
func RequestKeyID(message []byte) (KeyID, error) {
	p, err := parseRequest(message)
	return p.key, err
}

// sealRequest seals a payload for an enclave's key. The exporter belongs to the
// answer.
func sealRequest(config *KeyConfig, digest [48]byte, id RequestID, issued time.Time, payload []byte, pad bool) (message []byte, export exporter, err error) {
	if len(payload) > MaxPayload {
		return nil, nil, fmt.Errorf("%w: payload of %d bytes, at most %d", ErrTooLarge, len(payload), MaxPayload)
	}
	secret.Do(func() {
		var public hpke.PublicKey
		if public, err = config.KEM.hpke().NewPublicKey(config.PublicKey); err != nil {
			err = fmt.Errorf("%w: no public key", ErrConfig)
			return
		}
		var enc []byte
		var sender *hpke.Sender
		if enc, sender, err = hpke.NewSender(public, hpke.HKDFSHA256(), hpke.AES256GCM(), hpkeInfo(digest)); err != nil {
			err = fmt.Errorf("session: sealing: %w", err)
			return
		}
		size := 4 + len(payload)
		if pad {
			size = padded(size)
		}
		plaintext := make([]byte, size)
		defer clear(plaintext)
		binary.BigEndian.PutUint32(plaintext, uint32(len(payload)))
		copy(plaintext[4:], payload)
		message = make([]byte, 0, requestHeader+len(enc)+size+tagSize)
		message = header{keyIDOf(digest), id, issued}.append(message, len(enc))
		message = append(message, enc...)
		var ciphertext []byte
		if ciphertext, err = sender.Seal(message, plaintext); err != nil {
			err = fmt.Errorf("session: sealing: %w", err)
			return
		}
		message, export = append(message, ciphertext...), sender
	})
	if err != nil {
		return nil, nil, err
	}
	return message, export, nil
}

// openRequest opens a request with the key that it is for.
func openRequest(p parsedRequest, key hpke.PrivateKey, digest [48]byte) (payload []byte, export exporter, err error) {
	secret.Do(func() {
		var recipient *hpke.Recipient
		if recipient, err = hpke.NewRecipient(p.enc, key, hpke.HKDFSHA256(), hpke.AES256GCM(), hpkeInfo(digest)); err != nil {
			err = ErrOpen
			return
		}
		var plaintext []byte
		if plaintext, err = recipient.Open(p.associated, p.ciphertext); err != nil {
			err = ErrOpen
			return
		}
		defer clear(plaintext)
		if payload, err = unpad(plaintext); err == nil {
			export = recipient
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return payload, export, nil
}

// unpad returns a copy of the payload in a padded plaintext.
func unpad(plaintext []byte) ([]byte, error) {
	if len(plaintext) < 4 {
		return nil, ErrOpen
	}
	n := binary.BigEndian.Uint32(plaintext)
	rest := plaintext[4:]
	if uint64(n) > uint64(len(rest)) || n > MaxPayload {
		return nil, ErrOpen
	}
	for _, b := range rest[n:] {
		if b != 0 {
			return nil, ErrOpen
		}
	}
	payload := make([]byte, n)
	copy(payload, rest)
	return payload, nil
}

// padded is the length that n bytes are padded to: PADMÉ, which keeps the
// leading bits of a length and rounds up the rest, so that what it tells grows
// with the logarithm of the logarithm of n, and the padding stays below an
// eighth (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and
// Communication with PURBs", section 4.3).
func padded(n int) int {
	if n <= minPadded {
		return minPadded
	}
	e := bits.Len(uint(n)) - 1 // the exponent: n is at least 1<<e
	s := bits.Len(uint(e))     // bits that are kept below the leading one
	mask := 1<<max(0, e-s) - 1 // the rest is rounded up
	return (n + mask) &^ mask
}
