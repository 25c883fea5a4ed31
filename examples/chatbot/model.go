package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

const modelAbout = `usage: chatbot model SUBCOMMAND [flags]

Gets a model file ready for chatbot enclave, for its flags -model and
-model-digest, or -sealed-model and -model-digest.

  fetch    download a file whose digest is known, with resume
  convert  make a GGUF file of a BLOOM model as Hugging Face has it
  show     tell what a GGUF file holds
  seal     encrypt a GGUF file for attested enclaves

Flags: chatbot model SUBCOMMAND -h tells them.
`

var modelCommands = []command{
	{name: "fetch", run: runModelFetch},
	{name: "convert", run: runModelConvert},
	{name: "show", run: runModelShow},
	{name: "seal", run: runModelSeal},
}

func runModel(ctx context.Context, args []string, s streams) error {
	if len(args) == 0 {
		fmt.Fprint(s.err, modelAbout)
		return errUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		fmt.Fprint(s.out, modelAbout)
		return flag.ErrHelp
	}
	for _, c := range modelCommands {
		if c.name == args[0] {
			return c.run(ctx, args[1:], s)
		}
	}
	fmt.Fprintf(s.err, "chatbot model: there is no subcommand %q\n\n%s", args[0], modelAbout)
	return errUsage
}

// errStopped is what an interrupt becomes in a command that does the rest when
// it is run again.
var errStopped = errors.New("stopped; the same command goes on from here")

// isTerminal says whether w shows what is written to somebody, who sees a line
// that changes.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
