package attest_test

import (
	"crypto/x509"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

func TestCache(t *testing.T) {
	cache := attest.NewChainCache(0)
	v := findVector(t, "veracruz")
	doc, opts := v.doc(t), v.options(t, v.At)
	opts.Cache = cache
	for range 3 {
		if _, err := attest.Verify(doc, opts); err != nil {
			t.Fatal(err)
		}
		if cache.Len() != 1 {
			t.Errorf("%d chains cached", cache.Len())
		}
	}
	// A cached chain makes nothing else pass.
	for name, want := range map[string]error{"veracruz-flip-pcr0": attest.ErrSignature, "veracruz-flip-r": attest.ErrSignature, "splice-signature": attest.ErrSignature} {
		if _, err := attest.Verify(findVector(t, name).doc(t), opts); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A root that is not trusted any more, and a leaf that has expired.
	foreign := opts
	foreign.Roots = []*x509.Certificate{readCert(t, "testdata/attestation/root/synthetic-root.pem")}
	if _, err := attest.Verify(doc, foreign); !errors.Is(err, attest.ErrUntrusted) {
		t.Error(err)
	}
	late := opts
	late.Clock = func() time.Time { return v.At.Add(4 * time.Hour) }
	var expired *attest.ExpiredError
	if _, err := attest.Verify(doc, late); !errors.As(err, &expired) || !errors.Is(err, attest.ErrExpired) || cache.Len() != 0 {
		t.Errorf("%v, %d chains", err, cache.Len())
	}
	if lasts := expired.NotAfter.Sub(expired.NotBefore); lasts < 2*time.Hour || lasts > 4*time.Hour {
		t.Errorf("the chain is valid for %v", lasts)
	}
}

// Refused chains, and chains of refused roots, never get in.
func TestCacheTakesGoodChainsOnly(t *testing.T) {
	cache := attest.NewChainCache(0)
	for _, name := range []string{"fake-root", "fake-root-own-intermediate", "leaf-wrong-key", "leaf-expired", "pathlen", "leaf-is-ca", "cabundle-reversed"} {
		v := findVector(t, name)
		opts := v.options(t, v.At)
		opts.Cache = cache
		for range 2 {
			if _, err := attest.Verify(v.doc(t), opts); err == nil {
				t.Errorf("%s: accepted", name)
			}
		}
	}
	if cache.Len() != 0 {
		t.Errorf("%d chains cached", cache.Len())
	}
}

func TestCacheIsBounded(t *testing.T) {
	cache := attest.NewChainCache(2)
	names := []string{"veracruz", "yawn", "marlin-sample1", "nautilus-twitter-0"}
	var wg sync.WaitGroup
	for range 4 {
		for _, name := range slices.Concat(names, names) {
			v := findVector(t, name)
			doc, opts := v.doc(t), v.options(t, v.At)
			opts.Cache = cache
			wg.Go(func() {
				if _, err := attest.Verify(doc, opts); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	if cache.Len() != 2 {
		t.Errorf("%d chains cached, the limit is 2", cache.Len())
	}
	if (*attest.ChainCache)(nil).Len() != 0 {
		t.Error("a nil cache holds something")
	}
}
