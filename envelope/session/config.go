package session

import (
	"bytes"
	"crypto/ecdh"
	"crypto/hpke"
	"crypto/sha512"
	"fmt"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Limits, in bytes.
const (
	// MaxInfo bounds the application's part of a key configuration.
	MaxInfo = 4 << 10
	// maxConfig bounds an encoded key configuration.
	maxConfig = MaxInfo + 2<<10
	// KeyIDSize is the length of a key's name.
	KeyIDSize = 8
)

// KeyID names an enclave's HPKE key: the first bytes of its configuration's
// digest.
type KeyID [KeyIDSize]byte

func (id KeyID) String() string { return fmt.Sprintf("%x", id[:]) }

// KEM chooses how keys are agreed on (RFC 9180, section 7.1; for the hybrid one
// draft-ietf-hpke-pq).
type KEM uint16

// The KEMs that are accepted. The KDF is always HKDF-SHA-256 and the AEAD
// AES-256-GCM.
const (
	// MLKEM768X25519 (X-Wing) holds against an attacker who records today and
	// has a quantum computer later. It is the default.
	MLKEM768X25519 KEM = 0x647a
	// X25519 has shorter messages, by about 1,100 bytes each.
	X25519 KEM = 0x0020
)

func (k KEM) String() string {
	switch k {
	case MLKEM768X25519:
		return "MLKEM768-X25519, HKDF-SHA256, AES-256-GCM"
	case X25519:
		return "X25519, HKDF-SHA256, AES-256-GCM"
	}
	return fmt.Sprintf("KEM %#04x", uint16(k))
}

// sizes of public keys and encapsulations, in bytes.
func (k KEM) sizes() (public, encapsulation int, ok bool) {
	switch k {
	case MLKEM768X25519:
		return 1184 + 32, 1088 + 32, true
	case X25519:
		return 32, 32, true
	}
	return 0, 0, false
}

func (k KEM) hpke() hpke.KEM {
	if k == X25519 {
		return hpke.DHKEM(ecdh.X25519())
	}
	return hpke.MLKEM768X25519()
}

// KeyConfig is an enclave's HPKE key, as it is attested (FORMAT.md).
type KeyConfig struct {
	// KEM says how keys are agreed on.
	KEM KEM
	// PublicKey is the HPKE public key, serialized.
	PublicKey []byte
	// NotAfter is when clients must have stopped using the key, in whole
	// seconds.
	NotAfter time.Time
	// Info is the application's: what the enclave wants to have attested
	// beside the key, such as the digest of its model. At most MaxInfo bytes.
	Info []byte
}

// ID is the key's name.
func (c *KeyConfig) ID() (KeyID, error) {
	raw, err := c.marshal()
	if err != nil {
		return KeyID{}, err
	}
	return keyIDOf(digestOf(labelConfig, raw)), nil
}

func keyIDOf(digest [sha512.Size384]byte) KeyID { return KeyID(digest[:KeyIDSize]) }

const (
	version = 1
	kdfID   = 0x0001 // HKDF-SHA256
	aeadID  = 0x0002 // AES-256-GCM
)

// wireConfig is a KeyConfig in CBOR (FORMAT.md).
type wireConfig struct {
	Version   uint64 `cbor:"1,keyasint"`
	KEM       uint16 `cbor:"2,keyasint"`
	KDF       uint16 `cbor:"3,keyasint"`
	AEAD      uint16 `cbor:"4,keyasint"`
	PublicKey []byte `cbor:"5,keyasint"`
	NotAfter  uint64 `cbor:"6,keyasint"`
	Info      []byte `cbor:"7,keyasint"`
}

// maxUnix is the last second that NotAfter can be: the end of the year 9999.
const maxUnix = 253402300799

func (c *KeyConfig) marshal() ([]byte, error) {
	public, _, ok := c.KEM.sizes()
	switch {
	case !ok || len(c.PublicKey) != public:
		return nil, fmt.Errorf("%w: unknown KEM or wrong size of key", ErrConfig)
	case len(c.Info) > MaxInfo:
		return nil, fmt.Errorf("%w: application info of %d bytes, at most %d", ErrTooLarge, len(c.Info), MaxInfo)
	case c.NotAfter.Unix() <= 0 || c.NotAfter.Unix() > maxUnix:
		return nil, fmt.Errorf("%w: no valid time of expiry", ErrConfig)
	}
	info := c.Info
	if info == nil {
		info = []byte{} // nil would be CBOR's null
	}
	return encode(wireConfig{version, uint16(c.KEM), kdfID, aeadID, c.PublicKey, uint64(c.NotAfter.Unix()), info})
}

// parseConfig is the strict inverse of marshal: there is one encoding of each
// configuration.
func parseConfig(raw []byte) (*KeyConfig, error) {
	var w wireConfig
	if len(raw) > maxConfig || decMode.Unmarshal(raw, &w) != nil {
		return nil, fmt.Errorf("%w: not of the documented form", ErrConfig)
	}
	if w.Version != version || w.KDF != kdfID || w.AEAD != aeadID || w.NotAfter > maxUnix {
		return nil, fmt.Errorf("%w: another version or other algorithms", ErrConfig)
	}
	c := &KeyConfig{KEM(w.KEM), w.PublicKey, time.Unix(int64(w.NotAfter), 0).UTC(), w.Info}
	again, err := c.marshal()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("%w: not its shortest encoding", ErrConfig)
	}
	return c, nil
}

// The labels of everything that is hashed: what was made for one purpose is
// never valid for another.
const (
	labelConfig   = "nitroseal/session/v1/config"
	labelRequest  = "nitroseal/session/v1/request"
	labelResponse = "nitroseal/session/v1/response"
	labelReceipt  = "nitroseal/session/v1/receipt"
	labelClaim    = "nitroseal/session/v1/claim"
)

// digestOf is SHA-384 over the label, a zero byte, and the parts.
func digestOf(label string, parts ...[]byte) [sha512.Size384]byte {
	h := sha512.New384()
	h.Write([]byte(label))
	h.Write([]byte{0})
	for _, p := range parts {
		h.Write(p)
	}
	return [sha512.Size384]byte(h.Sum(nil))
}

// hpkeInfo is the info parameter of HPKE: it binds a request to one purpose and
// one key configuration.
func hpkeInfo(digest [sha512.Size384]byte) []byte {
	return append(append([]byte(labelRequest), 0), digest[:]...)
}

var (
	encMode = must(cbor.CoreDetEncOptions().EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   4,
		MaxMapPairs:       256,
		MaxArrayElements:  256,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return v
}

func encode(v any) ([]byte, error) {
	b, err := encMode.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("session: cannot encode: %w", err)
	}
	return b, nil
}
