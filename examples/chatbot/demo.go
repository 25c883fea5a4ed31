package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

const demoAbout = `
Runs the whole pipeline on this machine: KMS, parent and enclave as separate
processes, and the client in this one. Unix sockets stand for vsock, a software
NSM for the device, a local server for AWS KMS; everything between those edges
is the code that runs in production.

With -q it asks once; otherwise it prompts, a question a line.
`

func runDemo(ctx context.Context, args []string, s streams) error {
	fs := newFlags("demo", demoAbout, s)
	ask := askFlags(fs)
	verbose := fs.Bool("v", false, "tell each step of every process")
	breakPCR := fs.Bool("break-pcr", false, "first put a wrong PCR0 into the key policy and show the refusal, then mend it and ask again (needs -q)")
	keep := fs.Bool("keep", false, "ask nothing: print how to reach everything as one line of JSON and run until interrupted")
	modelFile := fs.String("model", "", "GGUF `file` to use in place of the embedded model")
	modelDigest := fs.String("model-digest", "", "SHA-256 or SHA-384 in hexadecimal that the -model file must have")
	library := fs.String("llama-lib", "", "`folder` of libllama; empty means where the installer put it, or the system's")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *breakPCR && !ask.once {
		return badUsage(fs, "-break-pcr needs a question: -q")
	}

	dir, err := demoDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	opts, err := demoOptions(dir, *modelFile, *modelDigest, *library)
	if err != nil {
		return err
	}
	var steps *step.Printer
	if *verbose {
		opts.Steps = s.err
		steps = step.New(s.err, "client")
	}
	if *breakPCR {
		opts.ExpectPCRs = wrongPCR0(opts.Image)
	}
	fmt.Fprintln(s.err, "demo: starting KMS, parent and enclave as processes of this machine (simulated NSM and KMS)")
	cluster, err := local.Start(ctx, opts)
	if err != nil {
		return err
	}
	defer cluster.Close()
	info, err := cluster.Info()
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "demo: running: kms pid %d, parent pid %d (%s), enclave pid %d\n",
		info.PIDs["kms"], info.PIDs["parent"], info.ParentURL, info.PIDs["enclave"])
	fmt.Fprintf(s.err, "demo: enclave PCR0 %x\n", []byte(opts.Image[0]))
	client, err := cluster.Client(steps)
	if err != nil {
		return err
	}
	switch {
	case *keep:
		if err := json.NewEncoder(s.out).Encode(info); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	case *breakPCR:
		return showRefusal(ctx, cluster, client, opts.Image, ask, s)
	}
	return ask.run(ctx, client, s)
}

// demoOptions finds out what runs where: this binary, its model, libllama.
func demoOptions(dir, modelFile, modelDigest, library string) (local.Options, error) {
	binary, err := os.Executable()
	if err != nil {
		return local.Options{}, err
	}
	// Looked for here as well as in the enclave, so that the commonest thing
	// missing is told first and plainly.
	if _, err := libllama.Find(library); err != nil {
		return local.Options{}, err
	}
	gguf, err := openGGUF(modelFile)
	if err != nil {
		return local.Options{}, err
	}
	defer gguf.Close()
	image, err := local.Measure(binary, gguf)
	if err != nil {
		return local.Options{}, err
	}
	// The enclave shares the machine with three other processes here, and
	// libllama's threads wait for each other in busy loops: leave them cores.
	threads := max(1, runtime.NumCPU()/2)
	opts := local.Options{Binary: binary, Dir: dir, Image: image, EnclaveArgs: []string{"-threads", strconv.Itoa(threads)}}
	for flag, value := range map[string]string{"-model": modelFile, "-model-digest": modelDigest, "-llama-lib": library} {
		if value != "" {
			opts.EnclaveArgs = append(opts.EnclaveArgs, flag, value)
		}
	}
	return opts, nil
}

// showRefusal asks under a key policy with a wrong PCR0, which must be
// refused, and again under the right one.
func showRefusal(ctx context.Context, cluster *local.Cluster, client *chat.Client, image attest.PCRs, ask *asking, s streams) error {
	fmt.Fprintln(s.err, "demo: the key policy names another PCR0; asking")
	err := ask.one(ctx, client, ask.question, io.Discard)
	if err == nil {
		return errors.New("the question was answered although the key policy names another PCR0")
	}
	fmt.Fprintf(s.err, "error: %v\n", err)
	if !errors.Is(err, wire.ReasonKMSDenied) {
		return errors.New("that is not the expected refusal")
	}
	if err := cluster.SetKeyPolicy(ctx, image); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "demo: the key policy names the enclave's PCR0 again; asking the same enclave")
	return ask.run(ctx, client, s)
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
