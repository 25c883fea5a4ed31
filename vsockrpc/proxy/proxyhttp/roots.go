package proxyhttp

import (
	"crypto/x509"
	"iter"
	"sync"

	"golang.org/x/crypto/x509roots/fallback/bundle"
)

// Roots returns the roots of Mozilla's programme, with the dates after which
// it distrusts some of them. The pool is the caller's own.
func Roots() *x509.CertPool { return allRoots().Clone() }

// AWSRoots returns the five roots of Amazon Trust Services, which issues the
// certificates of AWS endpoints: Amazon Root CA 1 to 4 and Starfield Services
// Root Certificate Authority - G2. An endpoint with another issuer's
// certificate needs Roots. The pool is the caller's own.
func AWSRoots() *x509.CertPool { return awsRoots().Clone() }

var (
	allRoots = sync.OnceValue(func() *x509.CertPool { return pool(bundle.Roots(), func(string) bool { return true }) })
	awsRoots = sync.OnceValue(func() *x509.CertPool { return pool(bundle.Roots(), isAWS) })
)

// isAWS takes common names as proof of nothing: they choose among roots that
// are all trusted.
func isAWS(commonName string) bool {
	switch commonName {
	case "Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4",
		"Starfield Services Root Certificate Authority - G2":
		return true
	}
	return false
}

// pool makes a pool of the roots that are wanted. A root that this version of
// Go cannot parse is left out, so that it is not trusted.
func pool(roots iter.Seq[bundle.Root], want func(commonName string) bool) *x509.CertPool {
	p := x509.NewCertPool()
	for root := range roots {
		cert, err := x509.ParseCertificate(root.Certificate)
		if err != nil || !want(cert.Subject.CommonName) {
			continue
		}
		if root.Constraint != nil {
			p.AddCertWithConstraint(cert, root.Constraint)
		} else {
			p.AddCert(cert)
		}
	}
	return p
}
