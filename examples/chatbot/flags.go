package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// newFlags returns a flag set that explains itself with about, and takes no
// arguments beside its flags.
func newFlags(name, about string, s streams) *flag.FlagSet {
	fs := flag.NewFlagSet("chatbot "+name, flag.ContinueOnError)
	fs.SetOutput(s.err)
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), "usage: chatbot %s [flags]\n\n%s\n\nFlags:\n", name, strings.TrimSpace(about))
		fs.PrintDefaults()
	}
	return fs
}

// parse parses args; every error but flag.ErrHelp becomes errUsage. Help that
// was asked for goes to standard output.
func parse(fs *flag.FlagSet, args []string, s streams) error {
	for _, a := range args {
		if a == "-h" || a == "-help" || a == "--help" {
			fs.SetOutput(s.out)
		}
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if fs.NArg() > 0 {
		return badUsage(fs, "unexpected argument %q", fs.Arg(0))
	}
	return nil
}

// badUsage says what is wrong with the flags.
func badUsage(fs *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(fs.Output(), "%s: %s\n", fs.Name(), fmt.Sprintf(format, args...))
	fmt.Fprintf(fs.Output(), "%s -h tells the flags.\n", fs.Name())
	return errUsage
}

// pairs is a repeatable flag of the form FROM=TO.
type pairs [][2]string

func (p *pairs) String() string {
	var all []string
	for _, kv := range *p {
		all = append(all, kv[0]+"="+kv[1])
	}
	return strings.Join(all, ",")
}

func (p *pairs) Set(v string) error {
	from, to, ok := strings.Cut(v, "=")
	if !ok || from == "" || to == "" {
		return errors.New("must be FROM=TO")
	}
	*p = append(*p, [2]string{from, to})
	return nil
}

// supervisedFlag is how chatbot demo ties its processes to itself.
func supervisedFlag(fs *flag.FlagSet) *bool {
	return fs.Bool("supervised", false, "stop when standard input ends")
}

// supervise returns a context that ends with ctx or, if on, at the end of in.
func supervise(ctx context.Context, on bool, in io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if on {
		go func() {
			io.Copy(io.Discard, in)
			cancel()
		}()
	}
	return ctx, cancel
}

// sayReady prints the one line of JSON that says that a server serves.
func sayReady(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

// rootsFromFile reads a PEM file of certificates. An empty name gives nil, the
// system's roots.
func rootsFromFile(name string) (*x509.CertPool, error) {
	if name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", name)
	}
	return pool, nil
}
