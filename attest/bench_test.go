package attest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha512"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
)

// BenchmarkVerify measures Verify beside its floor: the P-384 verifications
// that cannot be avoided, five without a cached chain (four in the chain, one
// over the document) and one with it.
func BenchmarkVerify(b *testing.B) {
	v := findVector(b, "veracruz")
	doc, opts := v.doc(b), v.options(b, v.At)
	b.Run("floor-5-signatures", func(b *testing.B) { signatures(b, 5) })
	b.Run("cold", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := attest.Verify(doc, opts); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("floor-1-signature", func(b *testing.B) { signatures(b, 1) })
	b.Run("warm", func(b *testing.B) {
		b.ReportAllocs()
		cached := opts
		cached.Cache = attest.NewChainCache(0)
		for b.Loop() {
			if _, err := attest.Verify(doc, cached); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refuse-early", func(b *testing.B) { // garbage must be cheap
		b.ReportAllocs()
		garbage := findVector(b, "veracruz-trailing").doc(b)
		for b.Loop() {
			if _, err := attest.Verify(garbage, opts); err == nil {
				b.Fatal("accepted")
			}
		}
	})
}

// signatures verifies n signatures by different keys.
func signatures(b *testing.B, n int) {
	type signed struct {
		key    *ecdsa.PublicKey
		digest [sha512.Size384]byte
		sig    []byte
	}
	all := make([]signed, n)
	for i := range all {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		digest := sha512.Sum384([]byte{byte(i)})
		sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
		if err != nil {
			b.Fatal(err)
		}
		all[i] = signed{&key.PublicKey, digest, sig}
	}
	b.ReportAllocs()
	for b.Loop() {
		for i := range all {
			if !ecdsa.VerifyASN1(all[i].key, all[i].digest[:], all[i].sig) {
				b.Fatal("does not verify")
			}
		}
	}
}
