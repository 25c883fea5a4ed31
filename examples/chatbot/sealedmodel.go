package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/inference/gguf"
)

const modelSealAbout = `
Encrypts a model so that only an attested enclave can open it. Run it on the
machine of the model's owner: the data key is made there, and KMS encrypts it
under -key-arn; the credentials need no more than kms:Encrypt with the
encryption context direction=request. The result is no secret.

It prints the SHA-256 of the model. Put it into the enclave's image, as in
chatbot enclave -sealed-model FILE -model-digest SHA256: it is part of the
encryption context, and what tells the enclave whose model it is.

Credentials come from -credentials, a file in the form of the AWS CLI's
credential_process, or from AWS_ACCESS_KEY_ID and its relatives.
`

// sealedModelContext is the encryption context of a sealed model. It is one of
// requests for a key policy, since the enclave is who reads it, and has no
// request id, so that nobody can have it opened as a question.
func sealedModelContext(digest string) envelope.EncryptionContext {
	return envelope.EncryptionContext{
		"app":       "nitroseal-chatbot",
		"direction": "request",
		"content":   "model",
		"sha256":    digest,
	}
}

func runModelSeal(ctx context.Context, args []string, s streams) error {
	fs := newFlags("model seal", modelSealAbout, s)
	in := fs.String("in", "", "GGUF `file` to seal (required)")
	out := fs.String("out", "", "`file` to write (required)")
	key := fs.String("key-arn", "", "ARN of the KMS key (required)")
	region := fs.String("region", "us-east-1", "AWS region of the key")
	endpoint := fs.String("kms-endpoint", "", "URL of KMS; empty means AWS's for the region")
	caFile := fs.String("kms-ca", "", "PEM `file` of the roots to trust for KMS; empty means the system's")
	creds := fs.String("credentials", "", "`file` with the owner's credentials")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *in == "" || *out == "" || *key == "" {
		return badUsage(fs, "-in, -out and -key-arn are required")
	}
	owner, err := credentialsFrom(*creds)
	if err != nil {
		return err
	}
	client, err := ownersKMS(*region, *endpoint, *caFile, owner)
	if err != nil {
		return err
	}
	sealer, err := envelope.NewClient(envelope.Options{KMS: client, KeyID: *key})
	if err != nil {
		return err
	}
	digest, err := sealModel(ctx, sealer, *in, *out)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "sealed for enclaves that the policy of %s allows: chatbot enclave -sealed-model %s -model-digest %s\n", *key, *out, digest)
	_, err = fmt.Fprintf(s.out, "%s  %s\n", digest, *out)
	return err
}

// sealModel reads the model twice, since the beginning of the sealed file has
// the digest of all of it. The file is written under another name and renamed
// when it is whole; a failure leaves nothing.
func sealModel(ctx context.Context, sealer *envelope.Client, path, sealed string) (digest string, err error) {
	in, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return "", err
	}
	// A wrong file is noticed here, and not when an enclave starts.
	if _, err := gguf.Read(in, info.Size()); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, untilDone(ctx, in)); err != nil {
		return "", err
	}
	digest = hex.EncodeToString(sum.Sum(nil))
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return "", err
	}

	out, err := os.CreateTemp(filepath.Dir(sealed), filepath.Base(sealed)+".*.part")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			out.Close()
			os.Remove(out.Name())
		}
	}()
	w, err := sealer.NewWriter(ctx, out, sealedModelContext(digest), envelope.StreamOptions{})
	if err != nil {
		return "", err
	}
	defer w.Abort()
	sum.Reset()
	if _, err := io.Copy(io.MultiWriter(w, sum), untilDone(ctx, in)); err != nil {
		return "", err
	}
	if hex.EncodeToString(sum.Sum(nil)) != digest {
		return "", errors.New("the model changed while it was sealed")
	}
	if err := errors.Join(w.Close(), out.Chmod(0o644), out.Sync(), out.Close()); err != nil {
		return "", err
	}
	return digest, os.Rename(out.Name(), sealed)
}

// untilDone reads r until ctx ends.
func untilDone(ctx context.Context, r io.Reader) io.Reader { return ctxReader{ctx, r} }

type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
