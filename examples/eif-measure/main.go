// Eif-measure prints what an enclave image file measures, in the form of
// nitro-cli describe-eif, which attest.ParsePolicy reads as it is.
//
//	eif-measure FILE
//
// It exits with 1 for a file that is no good image, and with 2 when called
// wrongly.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/attest/eif"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// description has the members of nitro-cli describe-eif that an image alone
// can tell.
type description struct {
	EifVersion   int
	Measurements map[string]string
	IsSigned     bool
	CheckCRC     bool
	Architecture string
	Cmdline      string
	SigningCert  string          `json:"SigningCertificateSubject,omitempty"`
	Metadata     json.RawMessage `json:",omitempty"`
}

func run(args []string, out, errOut io.Writer) int {
	if len(args) != 1 || args[0] == "-h" || args[0] == "--help" {
		fmt.Fprintln(errOut, "usage: eif-measure FILE")
		return 2
	}
	image, err := measure(args[0])
	if err != nil {
		fmt.Fprintf(errOut, "eif-measure: %s: %v\n", args[0], err)
		return 1
	}
	d := description{
		EifVersion: image.Version, Architecture: image.Arch, Cmdline: image.Cmdline, Metadata: image.Metadata,
		CheckCRC: true, IsSigned: image.SigningCertificate != nil,
		Measurements: map[string]string{"HashAlgorithm": "Sha384 { ... }"},
	}
	for i, pcr := range image.PCRs {
		d.Measurements[fmt.Sprintf("PCR%d", i)] = pcr.String()
	}
	if d.IsSigned {
		d.SigningCert = image.SigningCertificate.Subject.String()
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	if err := e.Encode(d); err != nil {
		fmt.Fprintf(errOut, "eif-measure: %v\n", err)
		return 1
	}
	return 0
}

func measure(name string) (*eif.Image, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return eif.Read(f)
}
