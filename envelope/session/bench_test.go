package session

import (
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

var kems = []KEM{X25519, MLKEM768X25519}

// exchangeOf is the vectors' exchange with a KEM.
func exchangeOf(b *testing.B, kem KEM) *exchangeVector {
	b.Helper()
	for _, v := range loadVectors(b).Exchanges {
		if v.KEM == kem {
			return &v
		}
	}
	b.Fatalf("no vectors of %v", kem)
	return nil
}

// BenchmarkEstablish is what a client computes to verify an enclave, with and
// without a cache of certificate chains.
func BenchmarkEstablish(b *testing.B) {
	all := loadVectors(b)
	v := all.Attestation[0]
	at := time.Unix(v.Time, 0)
	for name, cache := range map[string]*attest.ChainCache{"cache": attest.NewChainCache(0), "nocache": nil} {
		opts := all.trust(b, v.Time)
		opts.Cache = cache
		c := &Client{opts: ClientOptions{Enclave: opts}}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := c.believe([NonceSize]byte(v.Nonce), at, v.Answer); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSealRequest is a question of 200 bytes, sealed by the client.
func BenchmarkSealRequest(b *testing.B) {
	for _, kem := range kems {
		config, g := exchangeOf(b, kem).generation(b)
		payload := make([]byte, 200)
		b.Run(kem.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := sealRequest(config, g.digest, RequestID{}, vectorTime, payload, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpenRequest is the same, opened by the enclave.
func BenchmarkOpenRequest(b *testing.B) {
	for _, kem := range kems {
		v := exchangeOf(b, kem)
		_, g := v.generation(b)
		p, err := parseRequest(v.Request)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(kem.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := openRequest(p, g.private, g.digest); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkToken is a token of 5 bytes, sealed by the enclave and opened by the
// client.
func BenchmarkToken(b *testing.B) {
	req := exchangeOf(b, X25519).open(b)
	var sent []byte
	a := answer{export: req.export, digest: req.digest}
	resp, err := req.Respond(func(s []byte) error { sent = s; return nil })
	if err != nil {
		b.Fatal(err)
	}
	token := []byte("token")
	b.ReportAllocs()
	for b.Loop() {
		if err := resp.Send(token); err != nil {
			b.Fatal(err)
		}
		if _, _, _, err := a.open(sent); err != nil {
			b.Fatal(err)
		}
	}
}
