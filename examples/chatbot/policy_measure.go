package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

// maxPolicyFile bounds a policy, and what nitro-cli prints, in bytes.
const maxPolicyFile = 1 << 20

// measurementFlags are how commands are told the builds of an enclave.
type measurementFlags struct {
	files          [][2]string // name, or "", and file
	named          []attest.Measurement
	role, instance string
}

// measurementsAbout is for the descriptions of commands with these flags.
const measurementsAbout = `
Each -measurements names a build: an enclave image file, the output of nitro-cli
build-enclave, describe-eif or describe-enclaves, or a policy, of which the
measurements are taken. NAME= before the file is the build's name in messages; a
file whose own name has a "=" needs it, and may have it empty. "-" is standard
input.
`

// newMeasurementFlags defines -measurements, -pcr, -parent-role and
// -parent-instance.
func newMeasurementFlags(fs *flag.FlagSet) *measurementFlags {
	m := &measurementFlags{}
	fs.Func("measurements", "`[NAME=]FILE` with the measurements of a build (repeatable: alternatives)", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if !ok {
			name, file = "", s
		}
		if file == "" {
			return errors.New("must be FILE or NAME=FILE")
		}
		m.files = append(m.files, [2]string{name, file})
		return nil
	})
	fs.Func("pcr", "`[NAME:]N=HEX`: register N of the build NAME (repeatable; those with the same NAME belong to one build)", m.addPCR)
	fs.Func("parent-role", "`ARN` of the IAM role that the parent instance must have: PCR3 of every build", func(s string) error {
		m.role = s
		return matching(s, roleARN, "arn:aws:iam::111122223333:role/parent")
	})
	fs.Func("parent-instance", "`ID` that the parent instance must have: PCR4 of every build", func(s string) error {
		m.instance = s
		return matching(s, instanceID, "i-0123456789abcdef0")
	})
	return m
}

// A register is a digest of these, so that one with a mistake would be refused
// only when an enclave is.
var (
	roleARN    = regexp.MustCompile(`^arn:aws(-[a-z]+)*:iam::\d{12}:role/[A-Za-z0-9+=,.@_/-]{1,512}$`)
	instanceID = regexp.MustCompile(`^i-([0-9a-f]{8}|[0-9a-f]{17})$`)
)

func matching(s string, form *regexp.Regexp, such string) error {
	if !form.MatchString(s) {
		return fmt.Errorf("must be of the form %s", such)
	}
	return nil
}

func (m *measurementFlags) addPCR(s string) error {
	name, value, ok := strings.Cut(s, "=")
	build, number, named := strings.Cut(name, ":")
	if !named {
		build, number = "", name
	}
	n, err := strconv.Atoi(number)
	if !ok || err != nil || n < 0 || n > 31 {
		return errors.New("must be N=HEX or NAME:N=HEX, N from 0 to 31")
	}
	var pcr attest.PCR
	if err := pcr.UnmarshalText([]byte(value)); err != nil {
		return errors.New("a register has 96 hexadecimal digits")
	}
	i := slices.IndexFunc(m.named, func(m attest.Measurement) bool { return m.Name == build })
	if i < 0 {
		i = len(m.named)
		m.named = append(m.named, attest.Measurement{Name: build, PCRs: attest.PCRs{}})
	}
	if m.named[i].PCRs[n] != nil {
		return fmt.Errorf("PCR%d is given twice; NAME: tells builds apart", n)
	}
	m.named[i].PCRs[n] = pcr
	return nil
}

// given reports whether there are any.
func (m *measurementFlags) given() bool { return len(m.files)+len(m.named) > 0 }

// read returns the measurements, in the order of the flags, files first.
func (m *measurementFlags) read(in io.Reader) ([]attest.Measurement, error) {
	var list []attest.Measurement
	for _, f := range m.files {
		found, err := readMeasurements(f[1], in)
		if err != nil {
			return nil, err
		}
		if f[0] != "" && len(found) != 1 {
			return nil, fmt.Errorf("%s has %d measurements, which cannot all be named %q", f[1], len(found), f[0])
		}
		if f[0] != "" {
			found[0].Name = f[0]
		}
		list = append(list, found...)
	}
	list = append(list, m.named...)
	for i := range list {
		if err := m.narrow(&list[i]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// narrow adds the registers about the parent.
func (m *measurementFlags) narrow(to *attest.Measurement) error {
	for n, about := range map[int]struct {
		text string
		pcr  func(string) attest.PCR
	}{3: {m.role, attest.PCR3}, 4: {m.instance, attest.PCR4}} {
		if about.text == "" {
			continue
		}
		if want := about.pcr(about.text); to.PCRs[n] == nil {
			to.PCRs[n] = want
		} else if !to.PCRs[n].Equal(want) {
			return fmt.Errorf("PCR%d of %q is given, and is not that of %s", n, to.Name, about.text)
		}
	}
	return nil
}

// readMeasurements reads an image file, what nitro-cli printed, or a policy.
// They are told apart by the first bytes of an image.
func readMeasurements(path string, in io.Reader) ([]attest.Measurement, error) {
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	b := bufio.NewReader(in)
	if start, err := b.Peek(4); err == nil && string(start) == ".eif" {
		image, err := eif.Read(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return []attest.Measurement{imageMeasurement(image)}, nil
	}
	data, err := readInput("-", b, maxPolicyFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p, err := attest.ParsePolicy(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if p.AnyMeasurement {
		return nil, fmt.Errorf("%s accepts any measurement and names none", path)
	}
	return p.Measurements, nil
}
