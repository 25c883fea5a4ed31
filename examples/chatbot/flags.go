package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// newFlags returns a flag set whose help is the manual page of the command with
// that name ("model fetch" for a command of a group): about is its description,
// and manuals has the rest.
func newFlags(name, about string, s streams) *flag.FlagSet {
	fs := flag.NewFlagSet("chatbot "+name, flag.ContinueOnError)
	fs.SetOutput(s.err)
	fs.Usage = func() { page{path: name, about: about, flags: fs}.write(fs.Output()) }
	return fs
}

// parse parses args, which hold flags only; every error but flag.ErrHelp
// becomes errUsage. Help that was asked for goes to standard output.
func parse(fs *flag.FlagSet, args []string, s streams) error {
	_, err := parseOperands(fs, args, s, 0, 0)
	return err
}

// parseOperands is parse for commands that take from least to most arguments
// beside their flags, and returns those. Flags may stand before and after
// them; after "--" nothing is a flag.
func parseOperands(fs *flag.FlagSet, args []string, s streams, least, most int) ([]string, error) {
	if p, ok := s.out.(*probe); ok {
		p.flags = fs
		return nil, flag.ErrHelp
	}
	help := fs.Usage
	fs.Usage = func() {} // of errors, say what is wrong, and not a whole page
	defer func() { fs.Usage = help }()
	var operands []string
	for {
		if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
			fs.SetOutput(s.out)
			help()
			return nil, err
		} else if err != nil {
			return nil, tellHelp(fs)
		}
		rest := fs.Args()
		if used := len(args) - len(rest); len(rest) == 0 || used > 0 && args[used-1] == "--" {
			operands = append(operands, rest...)
			break
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
	switch {
	case len(operands) > most:
		return nil, badUsage(fs, "unexpected argument %q", operands[most])
	case len(operands) < least:
		return nil, badUsage(fs, "an argument is missing: %s", manuals[strings.TrimPrefix(fs.Name(), "chatbot ")].operands)
	}
	return operands, nil
}

// badUsage says what is wrong with the flags.
func badUsage(fs *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(fs.Output(), "%s: %s\n", fs.Name(), fmt.Sprintf(format, args...))
	return tellHelp(fs)
}

// tellHelp says where help is, after an error that has been told.
func tellHelp(fs *flag.FlagSet) error {
	fmt.Fprintf(fs.Output(), "%s -h tells the flags.\n", fs.Name())
	return errUsage
}

// appendTo is a flag that may be given several times.
func appendTo(list *[]string) func(string) error {
	return func(s string) error {
		*list = append(*list, s)
		return nil
	}
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
	certs, err := certificatesFrom(name)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for _, c := range certs {
		pool.AddCert(c)
	}
	return pool, nil
}

// certificatesFrom reads a PEM file of certificates, at least one.
func certificatesFrom(name string) ([]*x509.Certificate, error) {
	data, err := readLimited(name, 1<<20)
	if err != nil {
		return nil, err
	}
	var certs []*x509.Certificate
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		certs = append(certs, c)
	}
	if len(certs) == 0 {
		return nil, fmt.Errorf("%s holds no certificate in PEM form", name)
	}
	return certs, nil
}
