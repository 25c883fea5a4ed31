// Command sbom writes what a release of the chatbot consists of.
//
//	go run ./.ci/sbom bom -binary FILE [-version VERSION]
//	go run ./.ci/sbom licenses
//
// The first prints a CycloneDX document of the binary, the second the licences
// of everything that is linked into it, embedded in it or loaded by it. Both
// print the same bytes for the same input: neither has a time or a path in it.
//
// It is a program of our own, and not one of the well-kept generators, because
// it needs nothing but the standard library, and because those do not know the
// two parts that are no Go modules: the language model and libllama.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

// program is the package whose binary is released.
const program = "github.com/nitroseal/nitroseal/examples/chatbot"

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("which of bom and licenses?")
	}
	fs := flag.NewFlagSet(args[0], flag.ContinueOnError)
	binary := fs.String("binary", "", "`file` that bom describes")
	version := fs.String("version", "unreleased", "`version` of the release")
	if err := fs.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "bom":
		return writeBOM(out, *binary, *version)
	case "licenses":
		return writeLicenses(out)
	}
	return fmt.Errorf("there is no %q, only bom and licenses", args[0])
}
