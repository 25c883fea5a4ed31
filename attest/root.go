package attest

import (
	"crypto/x509"
	_ "embed"
	"encoding/pem"
	"sync"
)

// The AWS Nitro Enclaves root G1, as AWS publishes it. Its SHA-256 fingerprint
// is 64:1A:03:21:A3:E2:44:EF:E4:56:46:31:95:D6:06:31:7E:D7:CD:CC:3C:17:56:E0:
// 98:93:F3:C6:8F:79:BB:5B ("Verifying the root of trust"); a test compares.
//
//go:embed aws-nitro-root-g1.pem
var awsRootPEM []byte

var awsRoot = sync.OnceValue(func() *x509.Certificate {
	block, _ := pem.Decode(awsRootPEM)
	if block == nil {
		panic("attest: the embedded root is no PEM") // a broken build
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic("attest: the embedded root is no certificate") // a broken build
	}
	return cert
})

// AWSRoot returns the AWS Nitro Enclaves root G1, valid until 2049-10-28.
// Callers must not change it.
func AWSRoot() *x509.Certificate { return awsRoot() }
