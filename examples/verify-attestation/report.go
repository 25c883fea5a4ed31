package main

import (
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/attest"
)

// report is what is printed: a document, if it is genuine, and the verdict.
type report struct {
	doc    *attest.Document
	err    error
	policy bool // there was one
	at     time.Time
}

func (r *report) verdict() string {
	switch {
	case r.err != nil:
		return "REFUSED: " + r.err.Error()
	case r.policy:
		return "VERIFIED: genuine, and the policy is met"
	}
	return "VERIFIED: genuine; no policy was given, so nothing is said of what the enclave runs"
}

func (r *report) text(w io.Writer) error {
	p := &printer{w: w}
	if d := r.doc; d != nil {
		p.f("module      %q\n", d.ModuleID)
		age := max(0, r.at.Sub(d.Timestamp).Round(time.Second)) // the module's clock may be ahead
		p.f("time        %s (%v old at the time of verification)\n", d.Timestamp.Format(time.RFC3339), age)
		if d.Debug() {
			p.f("mode        DEBUG: PCR0 to PCR2 are zero, the parent reads the console\n")
		}
		for _, i := range slices.Sorted(maps.Keys(d.PCRs)) {
			if !d.PCRs[i].IsZero() {
				p.f("PCR%-2d       %v\n", i, d.PCRs[i])
			}
		}
		p.f("zero PCRs   %v\n", zeros(d.PCRs))
		for i, c := range chain(d) {
			name := "certificate"
			if i == 0 {
				name = "root"
			} else if i == len(d.CABundle) {
				name = "leaf"
			}
			p.f("%-11s %s to %s  %q\n", name, c.NotBefore.Format(time.RFC3339), c.NotAfter.Format(time.RFC3339), c.Subject.CommonName)
		}
		p.bytes("public key", d.PublicKey)
		p.bytes("user data", d.UserData)
		p.bytes("nonce", d.Nonce)
	}
	p.f("verdict     %s\n", r.verdict())
	return p.err
}

func chain(d *attest.Document) []*x509.Certificate {
	return append(slices.Clone(d.CABundle), d.Certificate)
}

func zeros(pcrs attest.PCRs) (list []int) {
	for _, i := range slices.Sorted(maps.Keys(pcrs)) {
		if pcrs[i].IsZero() {
			list = append(list, i)
		}
	}
	return list
}

// printer remembers the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// bytes prints a field as text if it is some, and else in hexadecimal. What an
// enclave put there is never sent to the terminal as it is.
func (p *printer) bytes(name string, b []byte) {
	switch {
	case b == nil:
		p.f("%-11s none\n", name)
	case printable(b):
		p.f("%-11s %d bytes: %s\n", name, len(b), strconv.Quote(string(b)))
	default:
		p.f("%-11s %d bytes: %x\n", name, len(b), b)
	}
}

func printable(b []byte) bool {
	for _, c := range string(b) {
		if c == utf8.RuneError || !unicode.IsPrint(c) {
			return false
		}
	}
	return len(b) > 0
}

type certificateJSON struct {
	Subject   string    `json:"subject"`
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
}

type documentJSON struct {
	ModuleID  string            `json:"module_id"`
	Timestamp time.Time         `json:"timestamp"`
	Debug     bool              `json:"debug"`
	PCRs      attest.PCRs       `json:"pcrs"`
	Chain     []certificateJSON `json:"chain"`
	PublicKey *string           `json:"public_key"`
	UserData  *string           `json:"user_data"`
	Nonce     *string           `json:"nonce"`
}

// json prints the same for programs; bytes are in hexadecimal.
func (r *report) json(w io.Writer) error {
	v := struct {
		Verified bool          `json:"verified"`
		Error    string        `json:"error,omitempty"`
		Kind     string        `json:"error_kind,omitempty"`
		Policy   bool          `json:"policy_given"`
		Document *documentJSON `json:"document,omitempty"`
	}{Verified: r.err == nil, Policy: r.policy}
	if r.err != nil {
		v.Error, v.Kind = r.err.Error(), kind(r.err)
	}
	if d := r.doc; d != nil {
		j := &documentJSON{ModuleID: d.ModuleID, Timestamp: d.Timestamp, Debug: d.Debug(), PCRs: d.PCRs,
			PublicKey: hexOrNil(d.PublicKey), UserData: hexOrNil(d.UserData), Nonce: hexOrNil(d.Nonce)}
		for _, c := range chain(d) {
			j.Chain = append(j.Chain, certificateJSON{c.Subject.CommonName, c.NotBefore, c.NotAfter})
		}
		v.Document = j
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func kind(err error) string {
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

func hexOrNil(b []byte) *string {
	if b == nil {
		return nil
	}
	s := hex.EncodeToString(b)
	return &s
}
