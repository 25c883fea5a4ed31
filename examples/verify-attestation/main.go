// Verify-attestation shows an attestation document to a person and says
// whether it can be believed.
//
//	verify-attestation [-at TIME] [-roots PEM] [-policy FILE] [-allow-debug] [-json] [FILE]
//
// FILE holds the document as it is, in base64 or in hexadecimal; without FILE,
// or with "-", it is read from standard input. Without -policy any measurement
// is accepted, and the verdict says so. The exit status is 0 for a document
// that verifies, 1 for one that does not and 2 when called wrongly.
package main

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const (
	exitVerified = 0
	exitRefused  = 1
	exitUsage    = 2
)

// maxInput bounds what is read, in bytes.
const maxInput = 1 << 20

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("verify-attestation", flag.ContinueOnError)
	fs.SetOutput(errOut)
	at := fs.String("at", "", "verify as of this `time` (RFC 3339); empty means now")
	roots := fs.String("roots", "", "PEM `file` of the roots to trust; empty means the AWS Nitro Enclaves root")
	policy := fs.String("policy", "", "`file` with a policy, or with what nitro-cli printed")
	debug := fs.Bool("allow-debug", false, "accept a document of a debug-mode enclave")
	asJSON := fs.Bool("json", false, "print JSON")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		return exitVerified
	} else if err != nil {
		return exitUsage
	}
	opts, err := options(*at, *roots, *policy, *debug)
	if err == nil && fs.NArg() > 1 {
		err = errors.New("more than one file")
	}
	var doc []byte
	if err == nil {
		doc, err = readDocument(fs.Arg(0), in)
	}
	if err != nil {
		fmt.Fprintf(errOut, "verify-attestation: %v\n", err)
		return exitUsage
	}
	// First what it says, if it is genuine at all; then whether it is wanted.
	genuine := opts
	genuine.Policy = attest.Policy{AnyMeasurement: true, AllowDebug: true}
	r := report{policy: *policy != "", at: opts.Clock()}
	r.doc, r.err = attest.Verify(doc, genuine)
	var expired *attest.ExpiredError
	switch {
	case r.err == nil:
		_, r.err = attest.Verify(doc, opts)
	case errors.As(r.err, &expired):
		// Most documents that people look at are old. Show it as of its own
		// time; the verdict stays.
		genuine.Clock = func() time.Time { return expired.NotBefore }
		shown, err := attest.Verify(doc, genuine)
		if err != nil {
			r.err = err
		}
		r.doc = shown
	}
	if *asJSON {
		err = r.json(out)
	} else {
		err = r.text(out)
	}
	if err != nil {
		fmt.Fprintf(errOut, "verify-attestation: %v\n", err)
		return exitRefused
	}
	if r.err != nil {
		return exitRefused
	}
	return exitVerified
}

func options(at, roots, policy string, debug bool) (attest.Options, error) {
	now := time.Now()
	if at != "" {
		var err error
		if now, err = time.Parse(time.RFC3339, at); err != nil {
			return attest.Options{}, errors.New("-at is no time such as 2026-01-02T15:04:05Z")
		}
	}
	opts := attest.Options{Clock: func() time.Time { return now }, Policy: attest.Policy{AnyMeasurement: true}}
	if roots != "" {
		data, err := os.ReadFile(roots)
		if err != nil {
			return attest.Options{}, err
		}
		if opts.Roots, err = certificates(data); err != nil {
			return attest.Options{}, fmt.Errorf("%s: %w", roots, err)
		}
	}
	if policy != "" {
		data, err := os.ReadFile(policy)
		if err != nil {
			return attest.Options{}, err
		}
		if opts.Policy, err = attest.ParsePolicy(data); err != nil {
			return attest.Options{}, fmt.Errorf("%s: %w", policy, err)
		}
	}
	opts.Policy.AllowDebug = opts.Policy.AllowDebug || debug
	return opts, nil
}

func certificates(data []byte) (certs []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, cert)
	}
	if len(certs) == 0 {
		return nil, errors.New("no certificate in PEM form")
	}
	return certs, nil
}

// readDocument reads a file or standard input, and undoes hexadecimal or
// base64. A document itself begins with a byte that is neither.
func readDocument(name string, in io.Reader) ([]byte, error) {
	if name != "" && name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxInput {
		return nil, fmt.Errorf("the input is larger than %d bytes", maxInput)
	}
	text := string(bytes.Join(bytes.Fields(data), nil))
	if b, err := hex.DecodeString(text); err == nil {
		return b, nil
	}
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
		if b, err := enc.DecodeString(text); err == nil {
			return b, nil
		}
	}
	return data, nil
}
