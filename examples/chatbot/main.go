// Chatbot answers questions over confidential data with a language model that
// runs inside a Nitro Enclave. It is the reference application of nitroseal.
//
// One binary holds every part of the pipeline:
//
//	chatbot demo        everything on this machine, with simulators
//	chatbot client      asks a question
//	chatbot parent      takes questions over HTTP and passes them to the enclave
//	chatbot enclave     answers them, inside the enclave
//	chatbot kms         a local AWS KMS that enforces attestation, for development
//	chatbot model       fetches, converts, shows and seals model files
//	chatbot eif         builds and measures enclave image files
//	chatbot policy      says which enclave may read what, and checks what others said
//	chatbot verify      shows an attestation document and says whether to believe it
//	chatbot version     tells which release this is
//	chatbot completion  makes a shell complete all this
//	chatbot help        shows the manual page of each
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/pid1"
)

// Exit statuses. A command has more of them where its errors say so, by
// ExitStatus; its manual page lists them.
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

// command is something that can be called by name, or a group of such. What
// its manual page says besides the flags is in manuals.
type command struct {
	name string
	run  func(ctx context.Context, args []string, s streams) error
	// about and subs are those of a group, which has no run.
	about string
	subs  []command
}

var commands = []command{
	{name: "demo", run: runDemo},
	{name: "client", run: runClient},
	{name: "parent", run: runParent},
	{name: "enclave", run: runEnclave},
	{name: "kms", run: runKMS},
	{name: "model", about: modelAbout, subs: modelCommands},
	{name: "eif", about: eifAbout, subs: eifCommands},
	{name: "policy", about: policyAbout, subs: policyCommands},
	{name: "verify", run: runVerify},
	{name: "version", run: runVersion},
}

const rootAbout = `
Answers questions over confidential data with a language model inside a Nitro
Enclave. Every part of the pipeline is a command of this one program; the demo
runs all of them on this machine.
`

// root is the program as a group: commands, and those that speak of all
// commands and so cannot be among them.
func root() command {
	return command{about: rootAbout, subs: append(slices.Clone(commands),
		command{name: "completion", run: runCompletion}, command{name: "help", run: runHelp})}
}

// errUsage marks errors in how the command was called. The flag package has
// printed the details already.
var errUsage = errors.New("usage")

func main() {
	if pid1.Wanted() {
		pid1.Main(os.Stderr) // ends the enclave, and does not return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// run calls the command that args name and returns the exit status.
func run(ctx context.Context, args []string, s streams) int {
	err := root().dispatch(ctx, "", args, s)
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(s.err, "chatbot %s: %s\n", args[0], text)
	}
	return exitStatus(err)
}

// dispatch calls the command, which path names, or the one of the group that
// the first argument names.
func (c command) dispatch(ctx context.Context, path string, args []string, s streams) error {
	if c.subs == nil {
		return c.run(ctx, args, s)
	}
	if len(args) == 0 {
		writeUsage(s.err, path, c.subs)
		return errUsage
	}
	switch name := args[0]; {
	case name == "-h" || name == "-help" || name == "--help" || name == "help" && path != "":
		if err := (page{path: path, about: c.about, subs: c.subs}).write(s.out); err != nil {
			return err
		}
		return flag.ErrHelp
	default:
		if sub, ok := c.sub(name); ok {
			return sub.dispatch(ctx, join(path, name), args[1:], s)
		}
		fmt.Fprintf(s.err, "%s: there is no command %q\n\n", join("chatbot", path), name)
		writeUsage(s.err, path, c.subs)
		return errUsage
	}
}

// sub returns the command of a group that has the name.
func (c command) sub(name string) (command, bool) {
	i := slices.IndexFunc(c.subs, func(c command) bool { return c.name == name })
	if i < 0 {
		return command{}, false
	}
	return c.subs[i], true
}
