package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

const sealedModelAbout = `
With -sealed-model the model is one that "chatbot model seal" made. It is
opened by attestation and exists in memory only: with -await-release its owner
releases it to this enclave ("chatbot model release") and no credentials come
here; otherwise with -sealed-model-credentials, which by themselves open nothing. -model-digest is required and says which model it is: in
an image the command line is measured.
`

// sealedFlags are the enclave's flags about a sealed model.
type sealedFlags struct {
	model, keyARN, credentials *string
	timeout                    *time.Duration
	await                      *bool
}

func newSealedFlags(fs *flag.FlagSet) sealedFlags {
	return sealedFlags{
		model:       fs.String("sealed-model", "", "`FILE|ADDR` of a sealed model to use in place of the embedded one; an ADDR such as vsock://3:8001 takes no memory for the ciphertext (chatbot parent -offer)"),
		keyARN:      fs.String("sealed-model-key-arn", "", "ARN of the KMS key of the sealed model; empty means -key-arn"),
		credentials: fs.String("sealed-model-credentials", "", "`FILE|ADDR` of the credentials to open it with, in the form of credential_process; empty means AWS_ACCESS_KEY_ID and its relatives"),
		await:       fs.Bool("await-release", false, "wait for the model's owner to release the key (chatbot model release), and take no credentials"),
		timeout:     fs.Duration("sealed-model-timeout", 15*time.Minute, "longest time for receiving and opening it"),
	}
}

// check returns what is wrong with the flags, or "".
func (f sealedFlags) check(modelFile, digest string) string {
	switch {
	case *f.model == "":
		if *f.keyARN != "" || *f.credentials != "" || *f.await {
			return "-sealed-model-key-arn, -sealed-model-credentials and -await-release are for -sealed-model"
		}
	case *f.await && *f.credentials != "":
		return "-await-release takes no -sealed-model-credentials"
	case modelFile != "":
		return "-model and -sealed-model exclude each other"
	case !isSHA256(digest):
		return "-sealed-model needs -model-digest with the SHA-256 that chatbot model seal printed"
	}
	return ""
}

func isSHA256(s string) bool {
	return len(s) == 64 && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

// key is the ARN of the sealed model's key, where keyARN is the questions'.
func (f sealedFlags) key(keyARN string) string {
	if *f.keyARN != "" {
		return *f.keyARN
	}
	return keyARN
}

// openSealedModel gets the sealed model's key and opens it. opts has everything
// but where the model is.
func (f *enclaveFlags) openSealedModel(ctx context.Context, b *booted, s streams, opts llama.Options) (inference.Model, error) {
	// A recipient of its own: what it attests has no model in PCR16 yet.
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: b.nsm, Entropy: b.nsm})
	if err != nil {
		return nil, err
	}
	opts.Digest = strings.ToLower(opts.Digest)
	if *f.sealed.await {
		opener, err := f.awaitRelease(ctx, b, s, recipient, opts.Digest, opts.Logger)
		if err != nil {
			return nil, fmt.Errorf("sealed model: %w", err)
		}
		return f.sealed.open(ctx, opener, b.pcrs, opts)
	}
	creds, err := f.sealed.readCredentials(ctx)
	if err != nil {
		return nil, fmt.Errorf("credentials for the sealed model: %w", err)
	}
	client, err := envelope.NewClient(envelope.Options{KMS: b.kms.withCredentials(creds), KeyID: f.sealed.key(*f.keyARN), Recipient: recipient})
	if err != nil {
		return nil, err
	}
	return f.sealed.open(ctx, streamOpener{client: client}, b.pcrs, opts)
}

// open opens the sealed model. opts has everything but where the model is.
func (f sealedFlags) open(ctx context.Context, opener streamOpener, pcrs attest.PCRs, opts llama.Options) (inference.Model, error) {
	ctx, cancel := context.WithTimeout(ctx, *f.timeout)
	defer cancel()
	sealed, err := openFileOrAddr(ctx, *f.model)
	if err != nil {
		return nil, fmt.Errorf("sealed model: %w", err)
	}
	defer sealed.Close()
	// Segments under way are memory, for which more than four workers are not
	// worth it: each decrypts gigabytes a second.
	r, err := opener.client.NewReader(ctx, sealed, sealedModelContext(opts.Digest), envelope.StreamOptions{
		Workers: min(4, runtime.GOMAXPROCS(0)), Decrypt: opener.decrypt,
	})
	switch {
	case errors.Is(err, envelope.ErrDenied):
		return nil, fmt.Errorf("sealed model: KMS does not release the key of this model to this enclave; does the key's policy name its PCR0, %v? (%w)", pcrs[0], err)
	case errors.Is(err, envelope.ErrContextMismatch):
		return nil, fmt.Errorf("sealed model: it is not the model of -model-digest (%w)", err)
	case err != nil:
		return nil, fmt.Errorf("sealed model: %w", err)
	}
	defer r.Close()
	opts.ModelReader = r
	m, err := llama.Open(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("opening the sealed model: %w", err)
	}
	return m, nil
}

// maxCredentials bounds a file with credentials, in bytes.
const maxCredentials = 64 << 10

func (f sealedFlags) readCredentials(ctx context.Context) (aws.CredentialsProvider, error) {
	if *f.credentials == "" {
		return credentialsFrom("")
	}
	r, err := openFileOrAddr(ctx, *f.credentials)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data, err := io.ReadAll(io.LimitReader(r, maxCredentials))
	if err != nil {
		return nil, err
	}
	if !json.Valid(data) {
		return nil, fmt.Errorf("what %s gives is no JSON", *f.credentials)
	}
	creds, err := parseCredentials(*f.credentials, data)
	if err != nil {
		return nil, err
	}
	return credentialsOf(creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken), nil
}

// openFileOrAddr opens a file, or what a peer sends at a vsockrpc address until
// it closes. ctx ends reading from the latter.
func openFileOrAddr(ctx context.Context, name string) (io.ReadCloser, error) {
	if !strings.Contains(name, "://") {
		return os.Open(name)
	}
	c, err := vsockrpc.Dial(ctx, name)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Unix(1, 0)) })
	return &received{c, func() error { stop(); return c.Close() }}, nil
}

type received struct {
	io.Reader
	close func() error
}

func (r *received) Close() error { return r.close() }
