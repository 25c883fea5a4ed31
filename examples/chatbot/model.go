package main

import (
	"errors"
	"io"
	"os"
)

const modelAbout = `
Gets a model file ready for chatbot enclave, for its flags -model and
-model-digest, or -sealed-model and -model-digest.
`

var modelCommands = []command{
	{name: "fetch", run: runModelFetch},
	{name: "convert", run: runModelConvert},
	{name: "show", run: runModelShow},
	{name: "seal", run: runModelSeal},
	{name: "release", run: runModelRelease},
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
