package session

import (
	"bytes"
	"errors"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
)

func FuzzConfig(f *testing.F) {
	for _, v := range loadVectors(f).Configs {
		f.Add([]byte(v.Encoding))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b)
		if err != nil {
			if c != nil || !errors.Is(err, ErrConfig) && !errors.Is(err, ErrTooLarge) {
				t.Error(err)
			}
			return
		}
		if again, err := c.marshal(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
	})
}

func FuzzAttestation(f *testing.F) {
	for _, v := range loadVectors(f).Attestation {
		f.Add([]byte(v.Answer))
		f.Add([]byte(v.Request))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if nonce, err := parseAttestRequest(b); err == nil && !bytes.Equal(marshalAttestRequest(nonce), b) {
			t.Errorf("%x becomes another request", b)
		}
		config, document, err := parseAttestAnswer(b)
		if err != nil {
			if config != nil || document != nil || !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if again, err := marshalAttestAnswer(config, document); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
		if _, err := AttestationKeyID(b); err != nil && !errors.Is(err, ErrConfig) && !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	})
}

func FuzzRequest(f *testing.F) {
	type pair struct {
		g *generation
		v exchangeVector
	}
	var known []pair
	for _, v := range loadVectors(f).Exchanges {
		_, g := v.generation(f)
		known = append(known, pair{g, v})
		f.Add([]byte(v.Request))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseRequest(b)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Error(err)
			}
			return
		}
		again := append(append(p.header.append(nil, len(p.enc)), p.enc...), p.ciphertext...)
		if !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x", b, again)
		}
		if id, err := RequestKeyID(b); err != nil || id != p.key {
			t.Errorf("%v, %v", id, err)
		}
		for _, k := range known {
			if _, _, err := openRequest(p, k.g.private, k.g.digest); err == nil && !bytes.Equal(b, k.v.Request) && len(b) == len(k.v.Request) {
				t.Error("a forged request opens")
			} else if err != nil && !errors.Is(err, ErrOpen) {
				t.Error(err)
			}
		}
	})
}

func FuzzPlaintext(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x01x\x00\x00"))
	f.Add([]byte("\x01\x00\x00\x00\x01x\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if payload, err := unpad(b); err == nil && !bytes.Equal(payload, b[4:4+len(payload)]) {
			t.Errorf("%x becomes %x", b, payload)
		}
		if len(b) < innerHeader {
			return
		}
		kind, content, err := unwrapContent(b)
		if err != nil {
			if content != nil || !errors.Is(err, ErrSegment) {
				t.Error(err)
			}
			return
		}
		if kind == kindError {
			if _, err := parseError(content); err != nil && !errors.Is(err, ErrSegment) {
				t.Error(err)
			}
		}
	})
}

// FuzzSegments has the bytes of a whole answer cut into segments at any place.
func FuzzSegments(f *testing.F) {
	v := loadVectors(f).Exchanges[0]
	req := v.open(f)
	var whole []byte
	for _, s := range v.Segments {
		whole = append(whole, s.Segment...)
	}
	f.Add(whole, uint16(len(v.Segments[0].Segment)), uint16(len(v.Segments[1].Segment)))
	f.Add(whole, uint16(1), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, first, next uint16) {
		a := answer{export: req.export, digest: requestDigest(v.Request)}
		size, n := int(first), 0
		for len(b) > 0 {
			size = min(size, len(b))
			kind, content, last, err := a.open(b[:size])
			if err != nil {
				if content != nil || !errors.Is(err, ErrSegment) && !errors.Is(err, ErrOrder) {
					t.Error(err)
				}
				return
			}
			if want := v.Segments[n]; kind != want.Kind || !bytes.Equal(content, want.Content) || last != want.Last {
				t.Error("a forged segment opens")
			}
			b, size, n = b[size:], int(next), n+1
		}
	})
}

func FuzzError(f *testing.F) {
	for _, v := range loadVectors(f).Errors {
		f.Add([]byte(v.Encoding))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseError(b)
		if err != nil {
			if e != nil || !errors.Is(err, ErrSegment) {
				t.Error(err)
			}
			return
		}
		if again, err := encode(wireError{e.Code, e.Message}); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
		if e.Error() == "" {
			t.Error("no text")
		}
	})
}

func FuzzData(f *testing.F) {
	for _, v := range loadVectors(f).Data {
		f.Add([]byte(v.Encoding))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeData(b)
		if err != nil {
			if !errors.Is(err, ErrData) {
				t.Error(err)
			}
			return
		}
		if again, err := d.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%x becomes %x, %v", b, again, err)
		}
	})
}

func FuzzReceipt(f *testing.F) {
	all := loadVectors(f)
	opts := all.trust(f, 0)
	opts.Cache = attest.NewChainCache(0)
	known := all.Receipts[0]
	for _, v := range all.Receipts {
		f.Add([]byte(v.Receipt))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := VerifyReceipt(b, opts, known.claims())
		if err == nil && !bytes.Equal(b, known.Receipt) && len(b) == len(known.Receipt) || (err == nil) != (r != nil) {
			t.Errorf("a forged receipt, %v", err)
		}
	})
}
