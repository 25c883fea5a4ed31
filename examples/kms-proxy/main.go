// Kms-proxy lets a simulated enclave decrypt with KMS through its parent, and
// prints each step. Everything runs in this process, without arguments:
//
//	kms-proxy
//
// A local KMS stands for AWS KMS, a unix socket for vsock and a software NSM
// for the device; the rest is what runs in production. The parent forwards to
// the one target on its allowlist, and TLS ends in the enclave.
package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy/proxyhttp"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "kms-proxy: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	world, err := simulate(ctx)
	if err != nil {
		return err
	}
	defer world.close()
	fmt.Fprintf(out, "KMS      serves TLS on %s\n", world.target)

	// The parent: an allowlist as in vsock-proxy.yaml, and one address for each
	// target. On an instance the address is vsock://any:8000.
	host, port, _ := strings.Cut(world.target, ":")
	list, err := proxy.ParseAllowlist(strings.NewReader(fmt.Sprintf("allowlist:\n- {address: %s, port: %s}\n", host, port)))
	if err != nil {
		return err
	}
	if _, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: "example.com:443", Allowlist: list}); !errors.Is(err, proxy.ErrNotAllowed) {
		return fmt.Errorf("example.com is not refused: %v", err)
	}
	fmt.Fprintln(out, "parent   refuses to forward to example.com:443: it is not on the allowlist")
	forwarder, err := proxy.NewForwarder(proxy.ForwarderOptions{Target: world.target, Allowlist: list})
	if err != nil {
		return err
	}
	defer forwarder.Close()
	address := "unix://" + filepath.Join(world.dir, "kms")
	listener, err := vsockrpc.Listen(address)
	if err != nil {
		return err
	}
	go forwarder.Serve(listener) // until Close
	fmt.Fprintf(out, "parent   forwards from %s to KMS, and to nothing else\n", address)

	// The enclave: the way to KMS is the parent's address, vsock://3:8000, and
	// RootCAs are proxyhttp.AWSRoots().
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: map[string]string{world.target: address}})
	if err != nil {
		return err
	}
	client := func(roots *x509.CertPool) (*envelope.Client, error) {
		transport, err := proxyhttp.NewTransport(proxyhttp.Options{Dialer: dialer, RootCAs: roots})
		if err != nil {
			return nil, err
		}
		api := kms.New(kms.Options{
			Region: "us-east-1", BaseEndpoint: aws.String("https://" + world.target), RetryMaxAttempts: 1,
			Credentials: credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
			HTTPClient:  &http.Client{Transport: transport},
		})
		return envelope.NewClient(envelope.Options{KMS: api, KeyID: world.keyARN, Recipient: world.recipient})
	}
	enclave, err := client(world.roots)
	if err != nil {
		return err
	}
	question := envelope.EncryptionContext{"direction": "request"}
	ciphertext, err := enclave.Encrypt(ctx, []byte("how do I reset my password?"), question)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "enclave  encrypted with KMS through the parent: %d bytes\n", len(ciphertext))
	plaintext, err := enclave.Decrypt(ctx, ciphertext, question)
	if err != nil {
		return err
	}
	defer clear(plaintext)
	fmt.Fprintf(out, "enclave  decrypted by attestation: %q\n", plaintext)

	wary, err := client(proxyhttp.AWSRoots())
	if err != nil {
		return err
	}
	var unknown x509.UnknownAuthorityError
	if _, err := wary.Decrypt(ctx, ciphertext, question); !errors.As(err, &unknown) {
		return fmt.Errorf("a KMS that Amazon's roots do not vouch for is not refused: %v", err)
	}
	fmt.Fprintln(out, "enclave  refuses the same server where it believes AWS's roots alone")
	stats := forwarder.Stats()
	fmt.Fprintf(out, "parent   passed on %d connections, %d bytes up and %d down, all of it TLS\n", stats.Accepted, stats.BytesUp, stats.BytesDown)
	return nil
}
