package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

const policyEmitAbout = `
Writes the policy by which a client recognizes the enclave, in JSON, for
"chatbot client -policy" and "chatbot verify -policy". An enclave must have all
registers of one of the builds; registers that a build does not name are not
looked at.
` + measurementsAbout

func runPolicyEmit(_ context.Context, args []string, s streams) error {
	fs := newFlags("policy emit", policyEmitAbout, s)
	builds := newMeasurementFlags(fs)
	var p attest.Policy
	fs.DurationVar(&p.MaxAge, "max-age", 5*time.Minute, "longest age of an attestation document; 0 means any, as for documents that are kept")
	fs.StringVar(&p.ModuleID, "module-id", "", "the one NSM, by its `id`, that is accepted")
	fs.BoolVar(&p.AllowDebug, "allow-debug", false, "accept enclaves in debug mode, whose registers are zero: for tests only")
	out := fs.String("o", "", "`file` to write; empty means standard output")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if !builds.given() {
		return badUsage(fs, "no build is named: -measurements FILE, or -pcr N=HEX")
	}
	if p.MaxAge < 0 {
		return badUsage(fs, "-max-age is negative")
	}
	var err error
	if p.Measurements, err = builds.read(s.in); err != nil {
		return err
	}
	data, err := encodePolicy(p)
	if err != nil {
		return err
	}
	warnAboutBuilds(s.err, p.Measurements)
	return writeOut(*out, data, s.out)
}

// encodePolicy writes the file form, indented, and makes sure that it can be
// read again: a policy that accepts nothing is an error here, not later.
func encodePolicy(p attest.Policy) ([]byte, error) {
	for _, m := range p.Measurements {
		if pcr0 := m.PCRs[0]; pcr0 != nil && pcr0.IsZero() && !p.AllowDebug {
			return nil, fmt.Errorf("PCR0 of %q is all zero, as in debug mode, where the parent reads the console; -allow-debug takes it", m.Name)
		}
	}
	raw, err := p.MarshalJSON()
	if err != nil {
		return nil, err
	}
	if _, err := attest.ParsePolicy(raw); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// warnAboutBuilds tells what a policy leaves open without naming it.
func warnAboutBuilds(w io.Writer, list []attest.Measurement) {
	for _, m := range list {
		switch {
		case m.PCRs[0] != nil:
		case m.PCRs[8] != nil:
			fmt.Fprintf(w, "warning: %q names PCR8 and not PCR0: every image that its signer ever signed is accepted\n", m.Name)
		case m.PCRs[1] == nil || m.PCRs[2] == nil:
			fmt.Fprintf(w, "warning: %q does not name the whole image, which is PCR0: others with the same registers are accepted\n", m.Name)
		}
	}
}
