package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

// maxMeasurements bounds a file of measurements, in bytes.
const maxMeasurements = 1 << 20

// measurements reads files as attest.ParsePolicy does.
func measurements(files []string) ([]attest.Measurement, error) {
	var list []attest.Measurement
	for _, file := range files {
		data, err := read(file, nil, maxMeasurements)
		if err != nil {
			return nil, err
		}
		p, err := attest.ParsePolicy(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, p.Measurements...)
	}
	return list, nil
}

func setContext(spec *keypolicy.Spec, s string) error {
	name, value, ok := strings.Cut(s, "=")
	if _, twice := spec.Context[name]; !ok || twice {
		return fmt.Errorf("must be NAME=VALUE, each name once")
	}
	if spec.Context == nil {
		spec.Context = map[string]string{}
	}
	spec.Context[name] = value
	return nil
}

// read reads a file of limited size, or in for "-".
func read(file string, in io.Reader, limit int64) ([]byte, error) {
	if file != "-" || in == nil {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s has more than %d bytes", file, limit)
	}
	return data, err
}
