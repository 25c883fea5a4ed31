package session

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// damaged calls try with b cut at every place, and with each of its bytes
// changed, in one bit that differs from byte to byte.
func damaged(b []byte, try func(name string, at int, changed []byte)) {
	for i := range b {
		try("cut", i, b[:i:i])
		c := bytes.Clone(b)
		c[i] ^= 1 << (i % 8)
		try("flipped", i, c)
	}
}

func TestDamagedAttestRequest(t *testing.T) {
	v := loadVectors(t).Attestation[0]
	damaged(v.Request, func(name string, at int, b []byte) {
		// A nonce is as good as any other: the document has the wrong one then.
		if nonce, err := parseAttestRequest(b); err == nil && bytes.Equal(nonce[:], v.Nonce) || err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%s at %d: %v", name, at, err)
		}
	})
}

func TestDamagedAttestAnswer(t *testing.T) {
	all := loadVectors(t)
	v := all.Attestation[0]
	opts := all.trust(t, v.Time)
	opts.Cache = attest.NewChainCache(0)
	at := time.Unix(v.Time, 0)
	c := &Client{opts: ClientOptions{Enclave: opts, Clock: func() time.Time { return at }}}
	nonce := [NonceSize]byte(v.Nonce)
	if e, err := c.believe(nonce, at, v.Answer); err != nil || e.KeyID != keyIDOf(digestOf(labelConfig, v.Config)) {
		t.Fatal(err)
	}
	damaged(v.Answer, func(name string, i int, b []byte) {
		if i > magicSize+2+len(v.Config) && i%everyByte != 0 {
			return
		}
		if e, err := c.believe(nonce, at, b); err == nil || e != nil {
			t.Errorf("%s at %d: accepted", name, i)
		}
	})
}

func TestDamagedRequest(t *testing.T) {
	for _, v := range loadVectors(t).Exchanges {
		_, g := v.generation(t)
		damaged(v.Request, func(name string, at int, b []byte) {
			if at > requestHeader && at%everyByte != 0 {
				return
			}
			p, err := parseRequest(b)
			if err == nil && p.key == g.id { // another key is not there
				_, _, err = openRequest(p, g.private, g.digest)
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrOpen) && p.key == g.id {
				t.Errorf("%s: %s at %d: %v", v.Name, name, at, err)
			}
		})
	}
}

func TestDamagedSegments(t *testing.T) {
	for _, v := range loadVectors(t).Exchanges {
		digest := requestDigest(v.Request)
		req := v.open(t)
		for n, s := range v.Segments {
			damaged(s.Segment, func(name string, at int, b []byte) {
				a := answer{export: req.export, digest: digest}
				for _, before := range v.Segments[:n] {
					if _, _, _, err := a.open(before.Segment); err != nil {
						t.Fatal(err)
					}
				}
				if _, content, _, err := a.open(b); !errors.Is(err, ErrSegment) || content != nil {
					t.Errorf("%s: segment %d: %s at %d: %v", v.Name, n, name, at, err)
				}
			})
		}
	}
}

func TestDamagedReceipt(t *testing.T) {
	all := loadVectors(t)
	v := all.Receipts[0]
	opts := all.trust(t, 0)
	opts.Cache = attest.NewChainCache(0)
	damaged(v.Receipt, func(name string, at int, b []byte) {
		if at > 300 && at%everyByte != 0 { // in the document
			return
		}
		if r, err := VerifyReceipt(b, opts, v.claims()); err == nil || r != nil {
			t.Errorf("%s at %d: accepted", name, at)
		}
	})
}

// TestDamagedPayloads damages what is sealed, as a faulty enclave or client
// might: it is refused, or is another valid encoding, and never both.
func TestDamagedPayloads(t *testing.T) {
	all := loadVectors(t)
	for _, v := range all.Data {
		damaged(v.Encoding, func(name string, at int, b []byte) {
			d, err := DecodeData(b)
			if err != nil {
				if !errors.Is(err, ErrData) {
					t.Errorf("%s: %s at %d: %v", v.Name, name, at, err)
				}
				return
			}
			if again, err := d.Encode(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s: %s at %d: becomes %x, %v", v.Name, name, at, again, err)
			}
		})
	}
	for _, v := range all.Configs {
		damaged(v.Encoding, func(name string, at int, b []byte) {
			c, err := parseConfig(b)
			if err != nil {
				if !errors.Is(err, ErrConfig) && !errors.Is(err, ErrTooLarge) {
					t.Errorf("%s at %d: %v", name, at, err)
				}
				return
			}
			if again, err := c.marshal(); err != nil || !bytes.Equal(again, b) {
				t.Errorf("%s at %d: becomes %x, %v", name, at, again, err)
			}
		})
	}
}
