package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

const policyKeyAbout = `
Writes the key policy of the KMS key, for "aws kms put-key-policy": who may do
what with the key, and which builds of the enclave may decrypt.

In sealed mode, the default, clients may encrypt questions, and may decrypt them
only with an attestation of a named build, to which KMS then encrypts the
answer. So a client can sign that one request for the enclave to send, and no
credentials travel. Answers have nothing to do with the key. No role of an
enclave is needed; -enclave-role names one that opens a sealed model, which it can do
only with an attestation as well.

In blog mode the enclave uses the credentials of the role -enclave-role, which pass
through the parent: it may decrypt questions with an attestation of a named
build, and encrypt answers, which clients may decrypt.

The policy grants what the flags say and nothing to the account's root: keep the
role -admin, which alone can change the policy, apart from all that runs.
` + measurementsAbout

// Modes of the chatbot that need different policies.
const (
	modeSealed = "sealed"
	modeBlog   = "blog"
)

// keyPolicyFlags are the flags about whom a key serves.
type keyPolicyFlags struct {
	spec keypolicy.Spec
	mode string
}

// newKeyPolicyFlags defines all of them but -allow-debug.
func newKeyPolicyFlags(fs *flag.FlagSet) *keyPolicyFlags {
	k := &keyPolicyFlags{}
	fs.StringVar(&k.mode, "mode", modeSealed, "`sealed|blog`: how clients ask")
	fs.Func("admin", "`ARN` of a role that administers the key and cannot use it (repeatable)", appendTo(&k.spec.Admins))
	fs.Func("client", "`ARN` of a role that asks (repeatable)", appendTo(&k.spec.Clients))
	fs.Func("enclave-role", "`ARN` of a role whose credentials the enclave uses (repeatable)", appendTo(&k.spec.Enclaves))
	fs.Func("encryption-context", "`NAME=VALUE` that the encryption context must have besides the direction (repeatable)", func(s string) error {
		name, value, ok := strings.Cut(s, "=")
		if _, twice := k.spec.Context[name]; !ok || twice {
			return errors.New("must be NAME=VALUE, each name once")
		}
		if k.spec.Context == nil {
			k.spec.Context = map[string]string{}
		}
		k.spec.Context[name] = value
		return nil
	})
	return k
}

// check returns what is wrong with the flags, or "".
func (k *keyPolicyFlags) check() string {
	switch {
	case k.mode != modeSealed && k.mode != modeBlog:
		return fmt.Sprintf("-mode is %q, not %s or %s", k.mode, modeSealed, modeBlog)
	case len(k.spec.Admins) == 0 || len(k.spec.Clients) == 0:
		return "a key policy needs -admin and -client"
	case k.mode == modeBlog && len(k.spec.Enclaves) == 0:
		return "in blog mode a key policy needs -enclave-role"
	}
	return ""
}

// policy makes the policy and judges it as everybody's is.
func (k *keyPolicyFlags) policy() ([]byte, []keypolicy.Finding, error) {
	s := k.spec
	opts := keypolicy.Options{Measurements: s.Measurements}
	if k.mode == modeSealed {
		s.Delegated, s.SealedResponses = true, true
		opts.Delegating = s.Clients
	}
	data, err := s.Policy()
	if err != nil {
		return nil, nil, err
	}
	return data, keypolicy.Lint(data, opts), nil
}

func runPolicyKey(_ context.Context, args []string, s streams) error {
	fs := newFlags("policy key", policyKeyAbout, s)
	k := newKeyPolicyFlags(fs)
	builds := newMeasurementFlags(fs)
	fs.BoolVar(&k.spec.AllowDebug, "allow-debug", false, "take zero registers, which every enclave in debug mode has: for tests only")
	out := fs.String("o", "", "`file` to write; empty means standard output")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := k.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	if !builds.given() {
		return badUsage(fs, "no build is named: -measurements FILE, or -pcr N=HEX")
	}
	var err error
	if k.spec.Measurements, err = builds.read(s.in); err != nil {
		return err
	}
	return k.write(*out, s.out, s.err)
}

// write writes the policy to a file, or to out if path is empty.
func (k *keyPolicyFlags) write(path string, out, errOut io.Writer) error {
	data, findings, err := k.policy()
	if err != nil {
		return err
	}
	for _, f := range findings { // such as zero registers, with -allow-debug
		fmt.Fprintln(errOut, f)
	}
	return writeOut(path, data, out)
}
