package main

import (
	"bytes"
	"crypto/sha512"
	"errors"
	"fmt"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/nitrotest/report"
)

// judge says what of the report is not as it must be.
func judge(r report.Report, built attest.PCRs, nonce []byte) error {
	var wrong []error
	check := func(ok bool, format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if ok {
			fmt.Println("ok:", text)
		} else {
			wrong = append(wrong, errors.New("not so: "+text))
		}
	}
	if r.Device != "" || len(r.PCRs) != 32 || len(r.Locked) != 32 || len(r.Random) != 2 {
		return fmt.Errorf("the module could not be asked: %s %v", r.Device, r.Failed)
	}
	check(len(r.Failed) == 0, "all calls that should work do %v", r.Failed)
	for i := range 3 {
		check(built[i].Equal(r.PCRs[i]), "PCR%d is %x, as the builder said", i, r.PCRs[i])
	}
	for i, locked := range r.Locked {
		if locked != (i < 16) {
			check(false, "PCR0 to PCR15 are locked, and no others: PCR%d", i)
		}
	}
	check(!bytes.Equal(r.Random[0], r.Random[1]) && !bytes.Equal(r.Random[0], make([]byte, 256)), "random bytes come in two draws that differ")
	want := sha512.Sum384(append(make([]byte, sha512.Size384), "nitrotest"...))
	check(bytes.Equal(r.Extended, want[:]), "PCR16 extended is %x", r.Extended)
	for call, code := range map[string]attest.Code{
		"extend PCR0": attest.CodeReadOnlyIndex, "extend locked PCR16": attest.CodeReadOnlyIndex,
		"extend locked PCR31": attest.CodeReadOnlyIndex, "describe PCR32": attest.CodeInvalidIndex,
	} {
		check(strings.Contains(r.Errors[call], string(code)), "%s is refused: %s", call, r.Errors[call])
	}
	check(bytes.Contains(r.Document, nonce), "the document of %d bytes has the nonce", len(r.Document))
	_, err := attest.Verify(r.Document, attest.Options{Policy: attest.Policy{Measurements: []attest.Measurement{{PCRs: built}}, Nonce: nonce}})
	check(err != nil, "the emulated module's document, which nobody has signed, is refused: %v", err)
	return errors.Join(wrong...)
}
