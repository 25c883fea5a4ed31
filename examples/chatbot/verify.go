package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const verifyAbout = `
Shows an attestation document to a person and says whether it can be believed:
form, signature, certificate chain up to the AWS Nitro Enclaves root, and, with
-policy, whether the enclave is one of those that are wanted. The document may
be raw, in base64 or in hexadecimal; "-" is standard input.

A document's certificate is valid for about three hours. An older one is shown
and refused; -at verifies as of another time, which proves only what held then.

Without -policy any enclave of anybody's is accepted, and the verdict says so.
With -roots the roots of a simulated NSM are believed in place of AWS's, and the
verdict says that too. What an enclave wrote into its document is shown in
hexadecimal, never as text.
` + verifyReceiptAbout

// maxDocument bounds what is read, in bytes. Documents have about 4,500, and
// twice that in hexadecimal.
const maxDocument = 1 << 20

// verifyFlags are those of chatbot verify.
type verifyFlags struct {
	policy, roots, at, nonce string
	debug, json              bool
	receipt                  receiptFlags
}

func newVerifyFlags(fs *flag.FlagSet) *verifyFlags {
	v := &verifyFlags{}
	fs.StringVar(&v.policy, "policy", "", "`file` with a policy, as chatbot policy emit writes it, or with what nitro-cli printed")
	fs.StringVar(&v.roots, "roots", "", "PEM `file` with roots of simulated NSMs to believe; empty means AWS's")
	fs.StringVar(&v.at, "at", "", "verify as of this `time`, such as 2026-01-02T15:04:05Z; empty means now")
	fs.StringVar(&v.nonce, "nonce", "", "the nonce that the document must have, in `hexadecimal`")
	fs.BoolVar(&v.debug, "allow-debug", false, "accept a document of a debug-mode enclave")
	fs.BoolVar(&v.json, "json", false, "print JSON")
	fs.StringVar(&v.receipt.receipt, "receipt", "", "verify the receipt in this `file`; - is standard input")
	fs.StringVar(&v.receipt.question, "question", "", "`file` with the question that the receipt must be about")
	fs.StringVar(&v.receipt.answer, "answer", "", "`file` with the answer that the receipt must be about")
	fs.StringVar(&v.receipt.model, "model-digest", "", "SHA-256 in `hexadecimal` of the model that the receipt must be about")
	return v
}

// shown is what a verification comes to.
type shown interface {
	text() string
	json(w io.Writer) error
	refused() bool
}

func runVerify(_ context.Context, args []string, s streams) error {
	fs := newFlags("verify", verifyAbout, s)
	v := newVerifyFlags(fs)
	operands, err := parseOperands(fs, args, s, 0, 1)
	if err != nil {
		return err
	}
	if wrong := v.receipt.check(v, len(operands)); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	opts, err := v.options()
	if err != nil {
		return cannotRun(err)
	}
	var r shown
	if v.receipt.receipt != "" {
		r, err = v.judgeReceipt(opts, s.in)
	} else {
		r, err = v.judgeDocument(operands[0], opts, s.in)
	}
	if err != nil {
		return cannotRun(err)
	}
	if v.json {
		err = r.json(s.out)
	} else {
		_, err = io.WriteString(s.out, r.text())
	}
	if err != nil {
		return cannotRun(err)
	}
	if r.refused() {
		return &exitError{status: exitFailed} // the verdict has been printed
	}
	return nil
}

func (v *verifyFlags) judgeDocument(name string, opts attest.Options, in io.Reader) (shown, error) {
	doc, err := readDocument(name, in)
	if err != nil {
		return nil, err
	}
	r := judge(doc, opts)
	r.policyFile, r.rootsFile = v.policy, v.roots
	return r, nil
}

func (v *verifyFlags) judgeReceipt(opts attest.Options, in io.Reader) (shown, error) {
	r, err := v.receipt.judge(opts, in)
	if err != nil {
		return nil, err
	}
	r.policyFile, r.rootsFile = v.policy, v.roots
	return r, nil
}

// options are what attest.Verify is to believe and expect.
func (v *verifyFlags) options() (attest.Options, error) {
	now := time.Now()
	var err error
	if v.at != "" {
		if now, err = time.Parse(time.RFC3339, v.at); err != nil {
			return attest.Options{}, errors.New("-at is no time such as 2026-01-02T15:04:05Z")
		}
	}
	opts := attest.Options{Clock: func() time.Time { return now }, Policy: attest.Policy{AnyMeasurement: true}}
	if v.roots != "" {
		if opts.Roots, err = certificatesFrom(v.roots); err != nil {
			return attest.Options{}, err
		}
	}
	if v.policy != "" {
		data, err := readLimited(v.policy, maxPolicyFile)
		if err != nil {
			return attest.Options{}, err
		}
		if opts.Policy, err = attest.ParsePolicy(data); err != nil {
			return attest.Options{}, fmt.Errorf("%s: %w", v.policy, err)
		}
	}
	if v.nonce != "" {
		if opts.Policy.Nonce, err = hex.DecodeString(v.nonce); err != nil {
			return attest.Options{}, errors.New("-nonce is not hexadecimal")
		}
	}
	opts.Policy.AllowDebug = opts.Policy.AllowDebug || v.debug
	return opts, nil
}

// judge asks first whether the document is genuine, which decides whether it is
// shown at all, and then whether it is wanted.
func judge(doc []byte, opts attest.Options) *report {
	r := &report{at: opts.Clock()}
	genuine := opts
	genuine.Policy = attest.Policy{AnyMeasurement: true, AllowDebug: true}
	r.doc, r.err = attest.Verify(doc, genuine)
	var expired *attest.ExpiredError
	switch {
	case r.err == nil:
		_, r.err = attest.Verify(doc, opts)
	case errors.As(r.err, &expired):
		// Most documents that people look at are old. Show it as of its own
		// time; the verdict stays, unless its signature is wrong besides.
		genuine.Clock = func() time.Time { return expired.NotBefore }
		shown, err := attest.Verify(doc, genuine)
		if err != nil {
			r.err = err
		}
		r.doc = shown
	}
	return r
}

// readDocument undoes hexadecimal and base64. A document itself begins with a
// byte that is neither.
func readDocument(name string, in io.Reader) ([]byte, error) {
	data, err := readInput(name, in, maxDocument)
	if err != nil {
		return nil, err
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
