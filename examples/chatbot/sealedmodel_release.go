package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const modelReleaseAbout = `
Lets one enclave open a sealed model: verifies it against -policy, and signs the
one KMS request with which it gets the model's key. The enclave, started with
-sealed-model and -await-release, waits for this. Nobody hands over credentials;
the parent, which carries it all, can read none of it.

Run it on the machine of the model's owner. -policy must not name PCR16, which
has the model's digest only once the model is loaded. The credentials need
kms:Decrypt with the enclave's attestation.
`

func runModelRelease(ctx context.Context, args []string, s streams) error {
	fs := newFlags("model release", modelReleaseAbout, s)
	sealed := fs.String("sealed", "", "`file` that chatbot model seal made (required)")
	f := &clientFlags{
		parent:     fs.String("parent", "http://127.0.0.1:5001", "`URL` of the enclave's parent"),
		policy:     fs.String("policy", "", "JSON `file` of what the enclave must be (required)"),
		roots:      fs.String("simulated-roots", "", "PEM `file` of roots to trust in place of AWS's: for software NSMs, which protect nothing"),
		allowDebug: fs.Bool("allow-debug", false, "trust enclaves in debug mode, which their parent can read"),
	}
	endpoint := fs.String("kms-endpoint", "", "`URL` of KMS, as the enclave reaches it; empty means AWS's for the key's region")
	creds := fs.String("credentials", "", "`file` with the owner's credentials")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *sealed == "" || *f.policy == "" {
		return badUsage(fs, "-sealed and -policy are required")
	}
	trust, err := f.trust()
	if err != nil {
		return err
	}
	owner, err := credentialsFrom(*creds)
	if err != nil {
		return err
	}
	head, header, err := sealedHead(*sealed)
	if err != nil {
		return err
	}
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: *f.parent})
	if err != nil {
		return err
	}
	client, err := session.NewClient(session.ClientOptions{Transport: transport, Enclave: trust})
	if err != nil {
		return err
	}
	sign := envelope.SignOptions{Credentials: owner, KeyID: header.KeyID, Endpoint: *endpoint, Enclave: trust}
	digest := header.Context["sha256"]
	for message, err := range client.Ask(ctx, func(ctx context.Context, e *session.Established, _ session.RequestID) ([]byte, error) {
		info, err := wire.DecodeInfo(e.Config.Info)
		if err != nil {
			return nil, err
		}
		if info.ModelDigest != digest {
			return nil, fmt.Errorf("the enclave waits for the model with SHA-256 %s, and %s is %s", info.ModelDigest, *sealed, digest)
		}
		signed, err := envelope.SignOpen(ctx, sign, head, sealedModelContext(digest), e.Raw)
		if err != nil {
			return nil, err
		}
		return session.Data{Sealed: head, Signed: signed}.Encode()
	}) {
		if remote, ok := errors.AsType[*session.RemoteError](err); ok {
			return wire.ParseReason(remote.Code)
		}
		if err != nil {
			return err
		}
		if string(message) != released {
			return errors.New("the enclave did not say that it has the key")
		}
	}
	fmt.Fprintf(s.err, "released: the enclave has the key of the model %s and loads it\n", digest)
	return nil
}

// sealedHead reads the header of a sealed file: its bytes, and what they say.
func sealedHead(name string) ([]byte, envelope.StreamHeader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, envelope.StreamHeader{}, err
	}
	defer f.Close()
	var head bytes.Buffer
	header, err := envelope.ReadStreamHeader(io.TeeReader(f, &head))
	if err != nil {
		return nil, envelope.StreamHeader{}, fmt.Errorf("%s: %w", name, err)
	}
	return head.Bytes(), header, nil
}
