package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// The credentials of the enclave's role, which the local KMS knows.
const (
	roleARN   = "arn:aws:iam::111122223333:role/enclave"
	accessKey = "AKIDEXAMPLE"
	secretKey = "example"
)

// world is what an AWS account and a Nitro instance provide.
type world struct {
	target    string         // host and port of KMS
	roots     *x509.CertPool // under which it can be believed
	keyARN    string         // of a key for this enclave alone
	recipient *envelope.Recipient
	dir       string // for the socket
	close     func()
}

// policy lets the role encrypt, and decrypt with this enclave's PCR0.
const policy = `{"Version": "2012-10-17", "Statement": [
	{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Encrypt", "Resource": "*"},
	{"Effect": "Allow", "Principal": {"AWS": %[1]q}, "Action": "kms:Decrypt", "Resource": "*",
	 "Condition": {"StringEqualsIgnoreCase": {"kms:RecipientAttestation:PCR0": "%[2]x"}}}]}`

// simulate starts a local KMS and an enclave's NSM.
func simulate(ctx context.Context) (*world, error) {
	w := &world{roots: x509.NewCertPool()}
	var closers []func()
	w.close = func() {
		for _, c := range closers {
			c()
		}
	}
	fail := func(err error) (*world, error) {
		w.close()
		return nil, err
	}
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		return fail(err)
	}
	pcr0 := bytes.Repeat([]byte{0x5e}, 48)
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: pcr0}})
	if err != nil {
		return fail(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		return fail(err)
	}
	closers = append(closers, func() { nsm.Close() })
	if w.recipient, err = envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm, Entropy: nsm}); err != nil {
		return fail(err)
	}
	srv, err := kmstest.NewTLSServer(kmstest.Options{AttestationRoots: []*x509.Certificate{ca.Root()}})
	if err != nil {
		return fail(err)
	}
	closers = append(closers, func() { srv.Close() })
	w.target = strings.TrimPrefix(srv.URL(), "https://")
	if !w.roots.AppendCertsFromPEM(srv.CACertPEM()) {
		return fail(errors.New("the local KMS has no certificate"))
	}
	if err := srv.AddPrincipal(kmstest.Principal{ARN: roleARN, AccessKeyID: accessKey, SecretAccessKey: secretKey}); err != nil {
		return fail(err)
	}
	if w.keyARN, err = srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(policy, roleARN, pcr0)}); err != nil {
		return fail(err)
	}
	if w.dir, err = os.MkdirTemp("", "kms-proxy"); err != nil {
		return fail(err)
	}
	closers = append(closers, func() { os.RemoveAll(w.dir) })
	return w, nil
}
