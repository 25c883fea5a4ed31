package nsmtest_test

import (
	"bytes"
	"context"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/attest-nsmtest.md.
func TestBadInput(t *testing.T) {
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	good, err := ca.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := other.MarshalPEM()
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.Index(good, []byte("-----BEGIN PRIVATE"))
	foreignCut := bytes.Index(foreign, []byte("-----BEGIN PRIVATE"))
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte(badinput.Canary)})

	module := func(input string, opts nsmtest.Options) badinput.Case {
		return badinput.Case{Func: "New", Input: input, Want: badinput.Plain(), Call: func(context.Context) error {
			_, err := nsmtest.New(opts)
			return err
		}}
	}
	parse := func(input string, data []byte) badinput.Case {
		return badinput.Case{Func: "ParseCA", Input: input, Want: badinput.Plain(), Call: func(context.Context) error {
			_, err := nsmtest.ParseCA(data)
			return err
		}}
	}
	badinput.Table{
		Package: "attest/nsmtest",
		Cases: []badinput.Case{
			module("zero options", nsmtest.Options{}),
			module("PCR -1", nsmtest.Options{CA: ca, PCRs: attest.PCRs{-1: attest.ZeroPCR()}}),
			module("PCR 32", nsmtest.Options{CA: ca, PCRs: attest.PCRs{32: attest.ZeroPCR()}}),
			module("a nil PCR", nsmtest.Options{CA: ca, PCRs: attest.PCRs{0: nil}}),
			module("a module id over 256 bytes", nsmtest.Options{CA: ca, ModuleID: strings.Repeat("x", 300)}),
			module("a module id that is not UTF-8", nsmtest.Options{CA: ca, ModuleID: "\xff\x00\n" + badinput.Canary}),
			module("a CA that NewCA did not make", nsmtest.Options{CA: &nsmtest.CA{}}),
			parse("nothing", nil),
			parse("text", []byte(badinput.Canary)),
			parse("a certificate alone", good[:cut]),
			parse("a certificate that is none", append(junk, good[cut:]...)),
			parse("the key of another CA", append(bytes.Clone(good[:cut]), foreign[foreignCut:]...)),
		},
		NoInput: []string{"NewCA", "CA.MarshalPEM", "CA.Root", "NSM.Device"},
	}.Run(t)
}
