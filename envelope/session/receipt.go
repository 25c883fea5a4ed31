package session

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const (
	magicReceipt = "NSP1"
	saltSize     = 32
	// MaxReceipt bounds a receipt, in bytes.
	MaxReceipt = 64 << 10
	// receiptLag is how far the enclave's clock may be from the NSM's.
	receiptLag = 10 * time.Minute
)

// Claims are what a receipt proves: that an enclave gave this response to this
// request, with this model and these parameters. What each of them is, byte for
// byte, is the application's to say.
type Claims struct {
	// Request and Response are required.
	Request, Response []byte
	// Model and Parameters may be empty.
	Model, Parameters []byte
}

// Receipt is a receipt that was verified.
type Receipt struct {
	// Document attests the claims.
	Document *attest.Document
	// Time is when the enclave made it, by its own clock. Document.Timestamp
	// is the NSM's.
	Time time.Time
}

// wireClaims are the digests of Claims in CBOR (FORMAT.md).
type wireClaims struct {
	Version    uint64 `cbor:"1,keyasint"`
	Salt       []byte `cbor:"2,keyasint"`
	Time       uint64 `cbor:"3,keyasint"`
	Request    []byte `cbor:"4,keyasint"`
	Response   []byte `cbor:"5,keyasint"`
	Model      []byte `cbor:"6,keyasint"`
	Parameters []byte `cbor:"7,keyasint"`
}

// claimDigest names its claim, so that no digest can stand for another, and is
// salted, so that a receipt tells nothing to who does not know the claim.
func claimDigest(name string, salt, claim []byte) []byte {
	d := digestOf(labelClaim+"/"+name, salt, claim)
	return d[:]
}

func (w *wireClaims) fill(c Claims) {
	w.Request = claimDigest("request", w.Salt, c.Request)
	w.Response = claimDigest("response", w.Salt, c.Response)
	w.Model = claimDigest("model", w.Salt, c.Model)
	w.Parameters = claimDigest("parameters", w.Salt, c.Parameters)
}

// Receipt makes a receipt for one answer: an attestation document over the
// digests of the claims. It goes to the client inside of the sealed answer. The
// receipt does not contain the claims; who is to verify it must get them with
// it.
//
// Errors: ctx's, and ErrAttester around the attester's.
func (e *Enclave) Receipt(ctx context.Context, c Claims) ([]byte, error) {
	w := wireClaims{Version: version, Salt: make([]byte, saltSize), Time: uint64(e.opts.Clock().Unix())}
	rand.Read(w.Salt)
	w.fill(c)
	claims, err := encode(w)
	if err != nil {
		return nil, err
	}
	digest := digestOf(labelReceipt, claims)
	document, err := e.attest(ctx, nil, digest[:])
	if err != nil {
		return nil, err
	}
	b := append([]byte(magicReceipt), 0, 0)
	binary.BigEndian.PutUint16(b[magicSize:], uint16(len(claims)))
	b = append(b, claims...)
	return append(b, document...), nil
}

// VerifyReceipt verifies that an enclave which opts trusts attests exactly
// these claims. It needs no network, and no more than the receipt's own time:
// opts.Clock is not used, certificates must have been valid when the receipt
// says that it was made, and the NSM's own time must agree.
//
// Errors: ErrReceipt, and attest's for the document.
func VerifyReceipt(receipt []byte, opts attest.Options, c Claims) (*Receipt, error) {
	malformed := fmt.Errorf("%w: not of the documented form", ErrReceipt)
	if len(receipt) > MaxReceipt || len(receipt) < magicSize+2 || string(receipt[:magicSize]) != magicReceipt {
		return nil, malformed
	}
	n := int(binary.BigEndian.Uint16(receipt[magicSize:]))
	rest := receipt[magicSize+2:]
	if len(rest) <= n {
		return nil, malformed
	}
	claims, raw := rest[:n], rest[n:]
	var w wireClaims
	if decMode.Unmarshal(claims, &w) != nil || w.Version != version || len(w.Salt) != saltSize || w.Time > maxUnix {
		return nil, malformed
	}
	if again, err := encode(w); err != nil || !bytes.Equal(again, claims) {
		return nil, malformed
	}
	made := time.Unix(int64(w.Time), 0).UTC()
	opts.Clock = func() time.Time { return made }
	opts.Policy.Nonce, opts.Policy.UserData = nil, nil
	document, err := attest.Verify(raw, opts)
	if err != nil {
		return nil, err
	}
	if digest := digestOf(labelReceipt, claims); subtle.ConstantTimeCompare(document.UserData, digest[:]) != 1 {
		return nil, fmt.Errorf("%w: the document attests something else", ErrReceipt)
	}
	if off := document.Timestamp.Sub(made); off > receiptLag || off < -receiptLag {
		return nil, fmt.Errorf("%w: it says %v, the NSM %v", ErrReceipt, made, document.Timestamp)
	}
	expected := wireClaims{Salt: w.Salt}
	expected.fill(c)
	for _, claim := range []struct {
		name            string
		found, expected []byte
	}{
		{"request", w.Request, expected.Request},
		{"response", w.Response, expected.Response},
		{"model", w.Model, expected.Model},
		{"parameters", w.Parameters, expected.Parameters},
	} {
		if !bytes.Equal(claim.found, claim.expected) {
			return nil, fmt.Errorf("%w: it is about another %s", ErrReceipt, claim.name)
		}
	}
	return &Receipt{document, made}, nil
}
