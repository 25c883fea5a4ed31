package chat

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// parentWith starts a parent with a certificate that ends then, for a name, and
// returns its URL and the certificate.
func parentWith(t *testing.T, name string, ends time.Time) (url string, cert *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "canary"}, DNSNames: []string{name},
		NotBefore: ends.Add(-48 * time.Hour), NotAfter: ends, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1), cert
}

// What is wrong with a parent's certificate is told, in fixed words.
func TestParentCertificate(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		host   string
		ends   time.Time
		trusts bool
		want   string // empty: the certificate is accepted
	}{
		"good":            {"localhost", now.Add(time.Hour), true, ""},
		"expired":         {"localhost", now.Add(-time.Hour), true, "it has expired or is not yet valid, by this machine's clock"},
		"not yet valid":   {"localhost", now.Add(96 * time.Hour), true, "it has expired or is not yet valid, by this machine's clock"},
		"of a stranger":   {"localhost", now.Add(time.Hour), false, "it is of an authority that this machine does not know"},
		"of another name": {"canary.example", now.Add(time.Hour), true, "it is for another name than that of the URL"},
	} {
		url, cert := parentWith(t, tt.host, tt.ends)
		roots := x509.NewCertPool()
		if tt.trusts {
			roots.AddCert(cert)
		}
		transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{
			URL: url, Client: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		_, err = transport.Attest(t.Context(), nil)
		err = translate(t.Context(), err)
		if fault := CertificateFault(err); fault != tt.want || errors.Is(err, wire.ReasonCertificate) != (tt.want != "") || errors.Is(err, wire.ReasonParent) {
			t.Errorf("%s: %q, %v", name, fault, err)
		}
	}
	// With the roots of this machine, through the whole client.
	url, _ := parentWith(t, "localhost", now.Add(time.Hour))
	c, err := New(Options{ParentURL: url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Attestation(t.Context()); !errors.Is(err, wire.ReasonCertificate) || CertificateFault(err) == "" {
		t.Errorf("a stranger: %v", err)
	}
	// KMS has a certificate, too: that is another matter.
	for _, err := range []error{&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, wire.ReasonCertificate, wire.ReasonParent, nil} {
		if fault := CertificateFault(translate(t.Context(), err)); fault != "" {
			t.Errorf("%v: %q", err, fault)
		}
	}
}
