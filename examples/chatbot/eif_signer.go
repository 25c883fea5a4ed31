package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/nitroseal/nitroseal/attest/eif"
)

// maxPEM bounds a file with a key, in bytes.
const maxPEM = 1 << 20

// readSigner reads key and certificate, or returns nil for empty names.
func readSigner(keyFile, certFile string) (*eif.Signer, error) {
	if keyFile == "" {
		return nil, nil
	}
	key, err := readKey(keyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyFile, err)
	}
	certs, err := certificatesFrom(certFile)
	if err != nil {
		return nil, err
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("%s holds %d certificates in place of one", certFile, len(certs))
	}
	if !key.PublicKey.Equal(certs[0].PublicKey) {
		return nil, fmt.Errorf("the certificate in %s is for another key", certFile)
	}
	return &eif.Signer{Key: key, Certificate: certs[0]}, nil
}

// readKey reads an ECDSA P-384 key in PEM form: PKCS #8, or SEC 1 as openssl
// ecparam -genkey writes it, after the parameters that come first there.
func readKey(name string) (*ecdsa.PrivateKey, error) {
	data, err := readLimited(name, maxPEM)
	if err != nil {
		return nil, err
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return nil, errors.New("no private key in PEM form")
		}
		var key any
		switch block.Type {
		case "PRIVATE KEY":
			key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
		case "EC PRIVATE KEY":
			key, err = x509.ParseECPrivateKey(block.Bytes)
		default:
			continue
		}
		ec, ok := key.(*ecdsa.PrivateKey)
		if err != nil || !ok || ec.Curve != elliptic.P384() {
			return nil, errors.New("the private key is not one of ECDSA on P-384, unencrypted")
		}
		return ec, nil
	}
}
