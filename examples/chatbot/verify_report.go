package main

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// report is what is printed: a document, if it is genuine, and the verdict.
type report struct {
	doc                   *attest.Document
	err                   error
	at                    time.Time
	policyFile, rootsFile string // empty where not given
}

func (r *report) refused() bool { return r.err != nil }

// simulated reports whether the document has a root that is not AWS's.
func (r *report) simulated() bool { return !r.doc.CABundle[0].Equal(attest.AWSRoot()) }

func (r *report) verdict() string {
	if r.err != nil {
		return "REFUSED: " + oneLine(r.err.Error())
	}
	v := "ACCEPTED: genuine"
	if r.simulated() {
		v = "ACCEPTED as a simulation: signed under the given roots, and not by AWS"
	}
	if r.policyFile == "" {
		return v + "; without -policy nothing is said of what the enclave runs"
	}
	return v + ", and the policy is met"
}

// text is the report for a person.
func (r *report) text() string {
	t := &text{}
	if d := r.doc; d != nil {
		t.line(0, fmt.Sprintf("module      %q", d.ModuleID))
		age := max(0, r.at.Sub(d.Timestamp).Round(time.Second)) // the module's clock may be ahead
		t.line(0, fmt.Sprintf("time        %s (%v old at the time of verification)", d.Timestamp.UTC().Format(time.RFC3339), age))
		if d.Debug() {
			t.line(0, "mode        DEBUG: PCR0 to PCR2 are zero, the parent reads the console")
		}
		var zero []int
		for _, n := range slices.Sorted(maps.Keys(d.PCRs)) {
			if d.PCRs[n].IsZero() {
				zero = append(zero, n)
				continue
			}
			t.line(0, fmt.Sprintf("PCR%-2d       %v", n, d.PCRs[n]))
		}
		t.line(0, fmt.Sprintf("zero PCRs   %v", zero))
		if r.simulated() {
			t.line(0, fmt.Sprintf("root        SIMULATED: not AWS's, believed because of -roots %q", r.rootsFile))
		} else {
			t.line(0, "root        AWS Nitro Enclaves")
		}
		for i, c := range chainOf(d) {
			role := "issuer"
			switch i {
			case 0:
				role = "root"
			case len(d.CABundle):
				role = "leaf"
			}
			t.line(0, fmt.Sprintf("  %-8s  %s to %s  %q", role, c.NotBefore.UTC().Format(time.RFC3339), c.NotAfter.UTC().Format(time.RFC3339), c.Subject.CommonName))
		}
		t.line(0, "public key  "+keyKind(d.PublicKey))
		t.line(0, "user data   "+inHex(d.UserData))
		t.line(0, "nonce       "+inHex(d.Nonce))
	}
	t.line(0, "verdict     "+r.verdict())
	return t.String()
}

func chainOf(d *attest.Document) []*x509.Certificate {
	return append(slices.Clone(d.CABundle), d.Certificate)
}

func inHex(b []byte) string {
	if b == nil {
		return "none"
	}
	return fmt.Sprintf("%d bytes: %x", len(b), b)
}

// keyKind says what the public key is, if it is a SubjectPublicKeyInfo, as that
// for KMS must be. An enclave may put any bytes there.
func keyKind(b []byte) string {
	if b == nil {
		return "none"
	}
	key, err := x509.ParsePKIXPublicKey(b)
	if err != nil {
		return inHex(b) + " (of no known kind)"
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA, %d bits", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA, " + k.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}

type certificateJSON struct {
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

type documentJSON struct {
	ModuleID      string            `json:"module_id"`
	Timestamp     time.Time         `json:"timestamp"`
	Debug         bool              `json:"debug"`
	Simulated     bool              `json:"simulated"`
	PCRs          attest.PCRs       `json:"pcrs"`
	Chain         []certificateJSON `json:"chain"`
	PublicKeyKind string            `json:"public_key_kind"`
	PublicKey     *string           `json:"public_key"`
	UserData      *string           `json:"user_data"`
	Nonce         *string           `json:"nonce"`
}

// json writes the same for programs; bytes are in hexadecimal.
func (r *report) json(w io.Writer) error {
	v := struct {
		Accepted bool          `json:"accepted"`
		Error    string        `json:"error,omitempty"`
		Kind     string        `json:"error_kind,omitempty"`
		Policy   bool          `json:"policy_given"`
		Document *documentJSON `json:"document,omitempty"`
	}{Accepted: r.err == nil, Policy: r.policyFile != ""}
	if r.err != nil {
		v.Error, v.Kind = r.err.Error(), refusalKind(r.err)
	}
	if r.doc != nil {
		v.Document = r.document()
	}
	return printJSON(w, v)
}

// document is the document in JSON; there must be one.
func (r *report) document() *documentJSON {
	d := r.doc
	j := &documentJSON{
		ModuleID: d.ModuleID, Timestamp: d.Timestamp.UTC(), Debug: d.Debug(), Simulated: r.simulated(), PCRs: d.PCRs,
		PublicKeyKind: keyKind(d.PublicKey), PublicKey: hexOrNull(d.PublicKey), UserData: hexOrNull(d.UserData), Nonce: hexOrNull(d.Nonce),
	}
	for _, c := range chainOf(d) {
		j.Chain = append(j.Chain, certificateJSON{c.Subject.CommonName, c.NotBefore, c.NotAfter})
	}
	return j
}

// refusalKind is which of attest's errors it is.
func refusalKind(err error) string {
	for name, e := range map[string]error{
		"malformed": attest.ErrMalformed, "untrusted": attest.ErrUntrusted, "expired": attest.ErrExpired,
		"signature": attest.ErrSignature, "policy": attest.ErrPolicy,
	} {
		if errors.Is(err, e) {
			return name
		}
	}
	return "other"
}

func hexOrNull(b []byte) *string {
	if b == nil {
		return nil
	}
	s := hex.EncodeToString(b)
	return &s
}
