package proxyhttp

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"math/big"
	"slices"
	"testing"
	"time"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// amazon are the SHA-256 fingerprints of the roots that Amazon Trust Services
// publishes for trust stores of one's own.
var amazon = map[string]string{
	"8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e": "Amazon Root CA 1",
	"1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4": "Amazon Root CA 2",
	"18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4": "Amazon Root CA 3",
	"e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092": "Amazon Root CA 4",
	"568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5": "Starfield Services Root Certificate Authority - G2",
}

// A new bundle that lacks one of them, or has a second of a name, shows here.
func TestRoots(t *testing.T) {
	all, aws := x509.NewCertPool(), x509.NewCertPool()
	n := 0
	for root := range bundle.Roots() {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil {
			t.Errorf("a root that is left out: %v", err)
			continue
		}
		add := func(p *x509.CertPool) {
			if root.Constraint != nil {
				p.AddCertWithConstraint(cert, root.Constraint)
			} else {
				p.AddCert(cert)
			}
		}
		add(all)
		sum := sha256.Sum256(root.Certificate)
		if name, ok := amazon[hex.EncodeToString(sum[:])]; ok {
			if cert.Subject.CommonName != name || root.Constraint != nil {
				t.Errorf("%s is now %s, with a constraint: %v", name, cert.Subject, root.Constraint != nil)
			}
			add(aws)
			n++
		}
	}
	if n != len(amazon) {
		t.Errorf("the bundle has %d of Amazon's %d roots", n, len(amazon))
	}
	// Equal does not compare constraints: it cannot, they are functions.
	if !Roots().Equal(all) || !AWSRoots().Equal(aws) || Roots().Equal(AWSRoots()) {
		t.Error("the pools are not those of the bundle")
	}
}

// A pool is the caller's: what is added to it is trusted there alone.
func TestRootsAreCopies(t *testing.T) {
	for _, pool := range []func() *x509.CertPool{Roots, AWSRoots} {
		mine := pool()
		mine.AddCert(&x509.Certificate{Raw: []byte("mine"), RawSubject: []byte("mine")})
		if mine.Equal(pool()) {
			t.Error("one caller's root is in the next one's pool")
		}
	}
}

// The constraints that come with roots hold, and a root that Go does not parse
// is left out.
func TestConstraints(t *testing.T) {
	ca, leaf := chain(t)
	distrusted := errors.New("distrusted")
	for name, constraint := range map[string]func([]*x509.Certificate) error{
		"none":     nil,
		"kept":     func([]*x509.Certificate) error { return nil },
		"not kept": func([]*x509.Certificate) error { return distrusted },
	} {
		roots := slices.Values([]bundle.Root{{Certificate: []byte("no certificate")}, {Certificate: ca.Raw, Constraint: constraint}})
		p := pool(roots, func(string) bool { return true })
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: p, CurrentTime: leaf.NotBefore}); (err == nil) != (name != "not kept") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// chain makes a root and a server certificate under it.
func chain(t *testing.T) (ca, leaf *x509.Certificate) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	sign := func(c, parent *x509.Certificate) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	ca = sign(template, template)
	template = &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter}
	return ca, sign(template, ca)
}
