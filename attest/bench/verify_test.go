// Package bench compares attest.Verify with hf/nitrite. It is a module of its
// own, so that users of attest do not depend on what it is compared with.
package bench

import (
	"crypto/x509"
	"os"
	"testing"
	"time"

	"github.com/hf/nitrite"

	"github.com/nitroseal/nitroseal/attest"
)

// Both verify the same real document at the same time, without a cache.
//
//	go test -bench . -count 6
func BenchmarkVerify(b *testing.B) {
	doc, err := os.ReadFile("../testdata/attestation/real/veracruz.cose")
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2022, 11, 9, 22, 52, 0, 0, time.UTC)
	b.Run("nitroseal", func(b *testing.B) {
		opts := attest.Options{Clock: func() time.Time { return at }, Policy: attest.Policy{AnyMeasurement: true}}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := attest.Verify(doc, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nitrite", func(b *testing.B) {
		roots := x509.NewCertPool()
		roots.AddCert(attest.AWSRoot())
		b.ReportAllocs()
		for b.Loop() {
			if _, err := nitrite.Verify(doc, nitrite.VerifyOptions{Roots: roots, CurrentTime: at}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nitroseal-warm", func(b *testing.B) {
		opts := attest.Options{Clock: func() time.Time { return at }, Policy: attest.Policy{AnyMeasurement: true}, Cache: attest.NewChainCache(0)}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := attest.Verify(doc, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
}
