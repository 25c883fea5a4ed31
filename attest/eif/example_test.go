package eif_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/eif"
)

// An image is built, and read back by whoever is to trust it: both get the
// same measurements. A byte that changed on the way does not pass.
func ExampleBuild() {
	file, err := os.CreateTemp("", "enclave-*.eif")
	if err != nil {
		log.Fatal(err)
	}
	defer os.Remove(file.Name())
	defer file.Close()
	built, err := eif.Build(file, eif.BuildOptions{
		Kernel:   bytes.NewReader([]byte("the kernel")),
		Cmdline:  "console=ttyS0 panic=30",
		Ramdisks: []io.ReadSeeker{bytes.NewReader([]byte("init")), bytes.NewReader([]byte("application"))},
	})
	if err != nil {
		log.Fatal(err)
	}

	data, err := os.ReadFile(file.Name())
	if err != nil {
		log.Fatal(err)
	}
	read, err := eif.Read(bytes.NewReader(data))
	if err != nil {
		log.Fatal(err)
	}
	policy := attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: read.PCRs}}}
	fmt.Println(len(policy.Measurements[0].PCRs), "registers,", "as built:", read.PCRs[0].Equal(built.PCRs[0]))
	data[len(data)-1] ^= 1
	_, err = eif.Read(bytes.NewReader(data))
	fmt.Println(err)
	// Output:
	// 3 registers, as built: true
	// eif: wrong checksum
}
