// Chatbot answers questions over confidential data with a language model that
// runs inside a Nitro Enclave. It is the reference application of nitroseal.
//
// One binary holds every part of the pipeline:
//
//	chatbot demo      everything on this machine, with simulators
//	chatbot client    asks a question
//	chatbot parent    takes questions over HTTP and passes them to the enclave
//	chatbot enclave   answers them, inside the enclave
//	chatbot kms       a local AWS KMS that enforces attestation, for development
//	chatbot model     fetches, converts, shows and seals model files
//
// Each tells its flags with -h.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// streams are the standard streams; tests pass their own.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

type command struct {
	name, summary string
	run           func(ctx context.Context, args []string, s streams) error
}

var commands = []command{
	{"demo", "run everything on this machine, with simulators, and ask", runDemo},
	{"client", "ask a question", runClient},
	{"parent", "take questions over HTTP and pass them to the enclave", runParent},
	{"enclave", "answer questions, inside the enclave", runEnclave},
	{"kms", "run a local AWS KMS that enforces attestation, for development", runKMS},
	{"model", "fetch, convert, show and seal model files", runModel},
}

// errUsage marks errors in how the command was called. The flag package has
// printed the details already.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

func run(ctx context.Context, args []string, s streams) int {
	if len(args) == 0 {
		usage(s.err)
		return exitUsage
	}
	switch args[0] {
	case "-h", "-help", "--help", "help":
		usage(s.out)
		return exitOK
	}
	for _, c := range commands {
		if c.name != args[0] {
			continue
		}
		err := c.run(ctx, args[1:], s)
		switch {
		case err == nil, errors.Is(err, flag.ErrHelp):
			return exitOK
		case errors.Is(err, errUsage):
			return exitUsage
		}
		fmt.Fprintf(s.err, "chatbot %s: %v\n", c.name, err)
		return exitFailed
	}
	fmt.Fprintf(s.err, "chatbot: there is no command %q\n\n", args[0])
	usage(s.err)
	return exitUsage
}

func usage(w io.Writer) {
	fmt.Fprint(w, "usage: chatbot COMMAND [flags]\n\n")
	for _, c := range commands {
		fmt.Fprintf(w, "  %-8s  %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "\nchatbot COMMAND -h tells the flags of a command.\n")
}
