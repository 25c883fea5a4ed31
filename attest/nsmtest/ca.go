package nsmtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"time"
)

// CAOptions configures NewCA.
type CAOptions struct {
	// Clock gives the time from which the root is valid, for 30 years. nil
	// means time.Now.
	Clock func() time.Time
}

// CA is the root of simulated modules. It is safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewCA makes a root with a fresh P-384 key.
func NewCA(opts CAOptions) (*CA, error) {
	now := time.Now()
	if opts.Clock != nil {
		now = opts.Clock()
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := caTemplate("simulated.nitro-enclaves", now, 30*365*24*time.Hour)
	tmpl.MaxPathLen = -1 // no limit, as the real root
	cert, err := issue(tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &CA{cert, key}, nil
}

// Root returns the certificate that verifiers must trust.
func (ca *CA) Root() *x509.Certificate { return ca.cert }

// MarshalPEM returns certificate and private key in PEM form, so that another
// process can simulate modules under the same root.
func (ca *CA) MarshalPEM() ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(ca.key)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw})
	return append(out, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})...), nil
}

// ParseCA reads what MarshalPEM wrote.
func ParseCA(data []byte) (*CA, error) {
	bad := errors.New("nsmtest: not a simulated CA in PEM form")
	certBlock, rest := pem.Decode(data)
	if certBlock == nil {
		return nil, bad
	}
	keyBlock, _ := pem.Decode(rest)
	if keyBlock == nil {
		return nil, bad
	}
	cert, err := x509.ParseCertificate(certBlock.Bytes)
	if err != nil {
		return nil, bad
	}
	parsed, err := x509.ParsePKCS8PrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, bad
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, bad
	}
	return &CA{cert, key}, nil
}

// chain is what stands between the root and a document: the cabundle and the
// key that signs.
type chain struct {
	bundle   [][]byte // root first
	leaf     []byte
	key      *ecdsa.PrivateKey
	notAfter time.Time
}

// leafValidity is how long a module's certificate lasts.
const leafValidity = 3 * time.Hour

// newChain issues regional, zonal and instance certificates and a leaf, in the
// shape of the real ones: path lengths 2, 1 and 0.
func (ca *CA) newChain(moduleID string, now time.Time) (*chain, error) {
	c := &chain{bundle: [][]byte{ca.cert.Raw}}
	parent, parentKey := ca.cert, ca.key
	for i, level := range []string{"regional", "zonal", "instance"} {
		key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
		if err != nil {
			return nil, err
		}
		tmpl := caTemplate(fmt.Sprintf("%s.simulated.nitro-enclaves", level), now, 24*time.Hour)
		tmpl.MaxPathLen, tmpl.MaxPathLenZero = 2-i, true
		cert, err := issue(tmpl, parent, &key.PublicKey, parentKey)
		if err != nil {
			return nil, err
		}
		c.bundle = append(c.bundle, cert.Raw)
		parent, parentKey = cert, key
	}
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		return nil, err
	}
	tmpl := template(moduleID+".simulated.nitro-enclaves", now, leafValidity)
	tmpl.KeyUsage = x509.KeyUsageDigitalSignature
	leaf, err := issue(tmpl, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	c.leaf, c.key, c.notAfter = leaf.Raw, key, leaf.NotAfter
	return c, nil
}

func template(name string, now time.Time, validity time.Duration) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber:          new(big.Int).SetBytes([]byte(rand.Text()[:15])),
		Subject:               pkix.Name{Country: []string{"US"}, Organization: []string{"nitroseal simulator"}, CommonName: name},
		NotBefore:             now.Add(-time.Second).UTC(),
		NotAfter:              now.Add(validity).UTC(),
		BasicConstraintsValid: true,
		SignatureAlgorithm:    x509.ECDSAWithSHA384,
	}
}

func caTemplate(name string, now time.Time, validity time.Duration) *x509.Certificate {
	t := template(name, now, validity)
	t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageCRLSign|x509.KeyUsageDigitalSignature
	return t
}

func issue(tmpl, parent *x509.Certificate, pub *ecdsa.PublicKey, key *ecdsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, pub, key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
