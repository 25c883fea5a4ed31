package main

import (
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// options finds out what runs where: this binary, its model, libllama.
func (f *demoFlags) options(dir string, s streams) (local.Options, error) {
	binary, err := os.Executable()
	if err != nil {
		return local.Options{}, err
	}
	// Looked for here as well as in the enclave, so that the commonest thing
	// missing is told first and plainly.
	if _, err := libllama.Find(*f.library); err != nil {
		return local.Options{}, err
	}
	gguf, err := openGGUF(*f.modelFile)
	if err != nil {
		return local.Options{}, err
	}
	defer gguf.Close()
	image, err := local.Measure(binary, gguf)
	if err != nil {
		return local.Options{}, err
	}
	// The enclaves share the machine with three other processes here, and
	// libllama's threads wait for each other in busy loops: leave them cores.
	threads := max(1, runtime.NumCPU()/2/(*f.enclaves))
	opts := local.Options{
		Binary: binary, Dir: dir, Image: image, Enclaves: *f.enclaves, Alias: *f.alias, Blog: *f.blogMode,
		EnclaveArgs: []string{"-threads", strconv.Itoa(threads)},
	}
	for flag, value := range map[string]string{"-model": *f.modelFile, "-model-digest": *f.modelDigest, "-llama-lib": *f.library} {
		if value != "" {
			opts.EnclaveArgs = append(opts.EnclaveArgs, flag, value)
		}
	}
	if *f.talk.verbose {
		opts.Steps = s.err
	}
	if *f.breakPCR {
		opts.ExpectPCRs = wrongPCR0(opts.Image)
	}
	return opts, nil
}

// wrongPCR0 is pcrs with one bit of PCR0 changed.
func wrongPCR0(pcrs attest.PCRs) attest.PCRs {
	wrong := attest.PCRs{0: slices.Clone(pcrs[0]), 1: pcrs[1], 2: pcrs[2]}
	wrong[0][0] ^= 1
	return wrong
}

// demoDir makes the folder for sockets, keys and logs. The path of a unix
// socket may be about 100 bytes long, so a deep temporary folder is avoided.
func demoDir() (string, error) {
	base := os.TempDir()
	if len(base) > 60 {
		base = "/tmp"
	}
	return os.MkdirTemp(base, "nitroseal-")
}
