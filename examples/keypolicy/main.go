// Keypolicy makes and judges KMS key policies for attested enclaves.
//
//	keypolicy make -admin ARN -client ARN -enclave ARN -measurements FILE
//	keypolicy lint [-json] [-untrusted ARN] [-delegating ARN] [-measurements FILE] FILE
//
// Flags that take an ARN or a file of measurements may be given several times.
// A file of measurements is what nitro-cli build-enclave and describe-eif, or
// eif-measure, print. The policy's FILE may be -, standard input; the output of
//
//	aws kms get-key-policy --key-id KEY --query Policy --output text
//
// can be piped in.
//
// lint exits with 1 if there is any finding above a note, and with 2 when
// called wrongly or a file cannot be read; so it can guard a pipeline.
package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/envelope/keypolicy"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

const usage = `usage: keypolicy make -admin ARN -client ARN [-enclave ARN] -measurements FILE
       keypolicy lint [-json] [-untrusted ARN] [-delegating ARN] [-measurements FILE] FILE`

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) == 0 {
		fmt.Fprintln(errOut, usage)
		return 2
	}
	command := map[string]func([]string, io.Reader, io.Writer, io.Writer) (int, error){"make": makePolicy, "lint": lint}[args[0]]
	if command == nil {
		fmt.Fprintln(errOut, usage)
		return 2
	}
	status, err := command(args[1:], in, out, errOut)
	if errors.Is(err, errUsage) {
		return 2 // package flag has said why
	}
	if err != nil {
		fmt.Fprintf(errOut, "keypolicy %s: %v\n", args[0], err)
		return 2
	}
	return status
}

var errUsage = errors.New("wrong usage")

// parse parses flags, which are followed by n arguments.
func parse(fs *flag.FlagSet, args []string, errOut io.Writer, n int) error {
	fs.SetOutput(errOut)
	fs.Usage = func() {
		fmt.Fprintln(errOut, usage)
		fs.PrintDefaults()
	}
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if fs.NArg() != n {
		fs.Usage()
		return errUsage
	}
	return nil
}

// appendTo is a flag that may be given several times.
func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
}

func makePolicy(args []string, _ io.Reader, out, errOut io.Writer) (int, error) {
	var spec keypolicy.Spec
	fs := flag.NewFlagSet("make", flag.ContinueOnError)
	fs.Func("admin", "`ARN` of a role that administers the key", appendTo(&spec.Admins))
	fs.Func("client", "`ARN` of a role that writes requests and reads responses", appendTo(&spec.Clients))
	fs.Func("enclave", "`ARN` of the role whose credentials the enclave uses", appendTo(&spec.Enclaves))
	fs.BoolVar(&spec.Delegated, "delegated", false, "clients sign requests that only the enclave can use")
	fs.BoolVar(&spec.AttestedResponses, "attested-responses", false, "responses are sealed under attested data keys")
	fs.BoolVar(&spec.AllowDebug, "allow-debug", false, "take zero registers, which every debug-mode enclave has: for tests only")
	fs.Func("context", "`NAME=VALUE` that the encryption context must have besides the direction", func(s string) error {
		return setContext(&spec, s)
	})
	var files []string
	fs.Func("measurements", "`file` with the measurements of a build", appendTo(&files))
	if err := parse(fs, args, errOut, 0); err != nil {
		return 0, err
	}
	var err error
	if spec.Measurements, err = measurements(files); err != nil {
		return 0, err
	}
	policy, err := spec.Policy()
	if err != nil {
		return 0, err
	}
	_, err = out.Write(policy)
	return 0, err
}

func lint(args []string, in io.Reader, out, errOut io.Writer) (int, error) {
	var opts keypolicy.Options
	var files []string
	fs := flag.NewFlagSet("lint", flag.ContinueOnError)
	asJSON := fs.Bool("json", false, "write the findings as a JSON list")
	fs.Func("untrusted", "`ARN` of a role whose credentials the parent has", appendTo(&opts.Untrusted))
	fs.Func("delegating", "`ARN` of a role that signs requests for the enclave and keeps its credentials", appendTo(&opts.Delegating))
	fs.Func("measurements", "`file` with the measurements of a build that is in use", appendTo(&files))
	if err := parse(fs, args, errOut, 1); err != nil {
		return 0, err
	}
	var err error
	if opts.Measurements, err = measurements(files); err != nil {
		return 0, err
	}
	policy, err := read(fs.Arg(0), in, keypolicy.MaxSize)
	if err != nil {
		return 0, err
	}
	findings := keypolicy.Lint(policy, opts)
	if err := write(out, findings, *asJSON); err != nil {
		return 0, err
	}
	for _, f := range findings {
		if f.Severity > keypolicy.Note {
			return 1, nil
		}
	}
	return 0, nil
}

func write(out io.Writer, findings []keypolicy.Finding, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(append([]keypolicy.Finding{}, findings...)) // [], not null
	}
	for _, f := range findings {
		if _, err := fmt.Fprintln(out, f); err != nil {
			return err
		}
	}
	if len(findings) == 0 {
		_, err := fmt.Fprintln(out, "no findings")
		return err
	}
	return nil
}
