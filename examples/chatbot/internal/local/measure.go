package local

import (
	"crypto/sha512"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/attest"
)

// Measure computes the PCRs of the simulated enclave image: PCR0 over the
// chatbot binary and the model, PCR1 over the binary, PCR2 over the model.
// A real image is measured by nitro-cli when it is built; the arithmetic is
// the same (extend a zero PCR by the SHA-384 of the data), so another binary
// or another model has other PCRs here as well.
func Measure(binary string, model io.Reader) (attest.PCRs, error) {
	f, err := os.Open(binary)
	if err != nil {
		return nil, fmt.Errorf("measuring the enclave: %w", err)
	}
	defer f.Close()
	whole, code, data := sha512.New384(), sha512.New384(), sha512.New384()
	if _, err := io.Copy(io.MultiWriter(whole, code), f); err != nil {
		return nil, fmt.Errorf("measuring %s: %w", binary, err)
	}
	if _, err := io.Copy(io.MultiWriter(whole, data), model); err != nil {
		return nil, fmt.Errorf("measuring the model: %w", err)
	}
	pcrs := attest.PCRs{}
	for i, digest := range [][]byte{whole.Sum(nil), code.Sum(nil), data.Sum(nil)} {
		extended := sha512.Sum384(append(make([]byte, sha512.Size384), digest...))
		pcrs[i] = extended[:]
	}
	return pcrs, nil
}
