// Cms-unwrap opens a CMS EnvelopedData, such as AWS KMS answers in
// CiphertextForRecipient, with the recipient's private key, and writes the
// plaintext, as it is, to standard output.
//
//	cms-unwrap -key PEM [-any-recipient-id] FILE
//
// FILE holds the bytes of the message, not their base64; - is standard input.
// The key is an RSA key, PKCS #8 or PKCS #1, without a passphrase.
//
// It exits with 1 and one line if the message does not open, which does not
// say why it does not, and with 2 when called wrongly. Nothing is written to
// standard output then.
package main

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/envelope"
)

// maxInput bounds both files, in bytes: more than envelope.UnwrapCMS takes.
const maxInput = 5 << 20

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errOut io.Writer) int {
	fs := flag.NewFlagSet("cms-unwrap", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.Usage = func() {
		fmt.Fprintln(errOut, "usage: cms-unwrap -key PEM [-any-recipient-id] FILE")
		fs.PrintDefaults()
	}
	keyFile := fs.String("key", "", "`file` with the recipient's RSA private key in PEM (required)")
	anyID := fs.Bool("any-recipient-id", false, "take messages that name the recipient in another way than KMS does, as OpenSSL's")
	if err := fs.Parse(args); err != nil {
		return 2
	}
	if fs.NArg() != 1 || *keyFile == "" {
		fs.Usage()
		return 2
	}
	plaintext, err := unwrap(*keyFile, fs.Arg(0), in, envelope.UnwrapOptions{AnyRecipientID: *anyID})
	if err == nil {
		_, err = out.Write(plaintext)
		clear(plaintext)
	}
	if err != nil {
		fmt.Fprintf(errOut, "cms-unwrap: %v\n", err)
		return 1
	}
	return 0
}

func unwrap(keyFile, file string, in io.Reader, opts envelope.UnwrapOptions) ([]byte, error) {
	key, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	message, err := read(file, in)
	if err != nil {
		return nil, err
	}
	return envelope.UnwrapCMS(key, message, opts)
}

func readKey(file string) (*rsa.PrivateKey, error) {
	data, err := read(file, nil)
	if err != nil {
		return nil, err
	}
	defer clear(data)
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, fmt.Errorf("%s is no PEM", file)
	}
	defer clear(block.Bytes)
	if key, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		return key, nil
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s holds no private key that is PKCS #8 or PKCS #1 without a passphrase", file)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s holds no RSA key", file)
	}
	return key, nil
}

// read reads a file of limited size, or in for "-".
func read(file string, in io.Reader) ([]byte, error) {
	if file != "-" || in == nil {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = errors.New(file + " is too large")
	}
	return data, err
}
