package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

const eifAbout = `
Builds and measures enclave image files (EIF), which nitro-cli run-enclave
starts. No Docker, no nitro-cli and no enclave is needed. Others can rebuild an
image, or measure the one that they were given, and compare.
`

var eifCommands = []command{
	{name: "build", run: runEIFBuild},
	{name: "describe", run: runEIFDescribe},
	{name: "image", run: runEIFImage},
	{name: "measure", run: runEIFMeasure},
}

// measured is the object that nitro-cli build-enclave prints, and that
// attest.ParsePolicy and "chatbot policy" read.
type measured struct {
	Measurements map[string]string
}

// described is what nitro-cli describe-eif prints, as far as an image alone can
// tell.
type described struct {
	EifVersion int
	measured
	IsSigned           bool
	CheckCRC           bool
	ImageName          string         `json:",omitempty"`
	ImageVersion       string         `json:",omitempty"`
	Architecture       string         `json:",omitempty"`
	Cmdline            string         `json:",omitempty"`
	SigningCertificate *certificateOf `json:",omitempty"`
	Sections           []sectionOf
	Metadata           json.RawMessage `json:",omitempty"`
}

type certificateOf struct {
	Subject, Issuer     string
	NotBefore, NotAfter string
}

type sectionOf struct {
	Type string
	Size int64
}

// imageMeasurement is what enclaves of the image will have, named after what
// the image calls itself.
func imageMeasurement(image *eif.Image) attest.Measurement {
	return attest.Measurement{Name: nameOf(image.Metadata), PCRs: image.PCRs}
}

func measuredOf(image *eif.Image) measured {
	m := measured{map[string]string{"HashAlgorithm": "Sha384 { ... }"}}
	for n, pcr := range image.PCRs {
		m.Measurements[fmt.Sprintf("PCR%d", n)] = pcr.String()
	}
	return m
}

func describedOf(image *eif.Image) described {
	meta := parseMetadata(image.Metadata)
	d := described{
		EifVersion: image.Version, measured: measuredOf(image), IsSigned: image.SigningCertificate != nil, CheckCRC: true,
		ImageName: meta.ImageName, ImageVersion: meta.ImageVersion, Architecture: image.Arch, Cmdline: image.Cmdline, Metadata: image.Metadata,
	}
	if c := image.SigningCertificate; c != nil {
		const form = "2006-01-02T15:04:05Z"
		d.SigningCertificate = &certificateOf{c.Subject.String(), c.Issuer.String(), c.NotBefore.UTC().Format(form), c.NotAfter.UTC().Format(form)}
	}
	for _, s := range image.Sections {
		d.Sections = append(d.Sections, sectionOf{s.Type.String(), s.Size})
	}
	return d
}

const eifMeasureAbout = `
Prints the measurements of an enclave image file as nitro-cli build-enclave
does: PCR0, PCR1, PCR2 and, of a signed image, PCR8. The file is checked on the
way: its form, its checksum and, if there is one, its signature. What is printed
is a policy for "chatbot client -policy" as it is.
`

func runEIFMeasure(_ context.Context, args []string, s streams) error {
	return readImage("measure", eifMeasureAbout, args, s, func(i *eif.Image) any { return measuredOf(i) })
}

const eifDescribeAbout = `
Prints what an enclave image file holds, in the form of nitro-cli describe-eif:
measurements, architecture, command line, sections, metadata and the signer's
certificate. The metadata is not measured: nobody vouches for it.
`

func runEIFDescribe(_ context.Context, args []string, s streams) error {
	return readImage("describe", eifDescribeAbout, args, s, func(i *eif.Image) any { return describedOf(i) })
}

// readImage is a command that reads an image and prints something of it.
func readImage(name, about string, args []string, s streams, of func(*eif.Image) any) error {
	operands, err := parseOperands(newFlags("eif "+name, about, s), args, s, 1, 1)
	if err != nil {
		return err
	}
	in := s.in
	if operands[0] != "-" {
		f, err := os.Open(operands[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	image, err := eif.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", operands[0], err)
	}
	return printJSON(s.out, of(image))
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
