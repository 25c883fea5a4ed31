package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
)

const clientAbout = `
Asks questions: verifies the enclave against -policy, seals each question under
KMS and to the enclave's key, and opens the answer as it comes. With -q it asks
once, with -serve it shows a web page and OpenAI-style endpoints on this
machine; otherwise it talks, a question a line.

The user's own credentials come from -credentials, a file in the form of the
AWS CLI's credential_process, which "aws configure export-credentials" writes,
or else from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN. The
secret access key never leaves this process: the client signs the one KMS
request with which the enclave opens the question. They need kms:Encrypt, and
kms:Decrypt with the enclave's attestation ("chatbot policy key").

-policy is what the enclave must be: "chatbot policy emit" makes the file, and
what nitro-cli build-enclave printed will do.
`

// clientFlags say whom to ask, and with what.
type clientFlags struct {
	parent, policy, roots       *string
	allowDebug                  *bool
	region, key, endpoint, ca   *string
	credentials                 *string
	sendCredentials, withoutKMS *bool
	model                       *string
	keepCase, elsewhere         *bool
}

func newClientFlags(fs *flag.FlagSet) *clientFlags {
	return &clientFlags{
		parent:          fs.String("parent", "http://127.0.0.1:5001", "`URL` of the parent"),
		policy:          fs.String("policy", "", "JSON `file` of what the enclave must be (required)"),
		roots:           fs.String("simulated-roots", "", "PEM `file` of roots to trust in place of AWS's: for software NSMs, which protect nothing"),
		allowDebug:      fs.Bool("allow-debug", false, "trust enclaves in debug mode, which their parent can read"),
		region:          fs.String("region", "us-east-1", "AWS region of the key"),
		key:             fs.String("key-arn", "", "`ARN` of the KMS key (required, unless -without-kms)"),
		endpoint:        fs.String("kms-endpoint", "", "`URL` of KMS; empty means AWS's for the region"),
		ca:              fs.String("kms-ca", "", "PEM `file` of the roots to trust for KMS; empty means the system's"),
		credentials:     fs.String("credentials", "", "`file` with the user's credentials"),
		sendCredentials: fs.Bool("send-credentials", false, "send the credentials to the enclave, sealed, in place of a signed request (discouraged)"),
		withoutKMS:      fs.Bool("without-kms", false, "use no KMS: only the session protects the question, and the enclave must have been told to take that"),
		model:           fs.String("expect-model", "", "`SHA-256` in hexadecimal that the enclave's model must have"),
		keepCase:        fs.Bool("keep-case", false, "send questions as typed also to a model that knows lower case only"),
		elsewhere:       fs.Bool("retry-elsewhere", false, "ask again at once when another enclave has taken the place of the one that was asked; a lying parent can then have a question opened by two of them"),
	}
}

// check returns what is wrong with the flags, or "".
func (f *clientFlags) check() string {
	switch {
	case *f.policy == "":
		return "-policy is required: without one no enclave is trusted"
	case *f.key == "" && !*f.withoutKMS:
		return "-key-arn is required, or -without-kms"
	case *f.withoutKMS && (*f.key != "" || *f.sendCredentials):
		return "-without-kms excludes -key-arn and -send-credentials"
	}
	return ""
}

// client makes the client that the flags describe.
func (f *clientFlags) client(steps *step.Printer) (*chat.Client, error) {
	trust, err := f.trust()
	if err != nil {
		return nil, err
	}
	opts := chat.Options{
		ParentURL: *f.parent, Enclave: trust, Simulated: *f.roots != "", ModelDigest: *f.model,
		KeepCase: *f.keepCase, RetryElsewhere: *f.elsewhere, Steps: steps,
	}
	if *f.withoutKMS {
		return chat.New(opts)
	}
	creds, err := credentialsFrom(*f.credentials)
	if err != nil {
		return nil, err
	}
	api, err := ownersKMS(*f.region, *f.endpoint, *f.ca, creds)
	if err != nil {
		return nil, err
	}
	if opts.KMS, err = envelope.NewClient(envelope.Options{KMS: api, KeyID: *f.key}); err != nil {
		return nil, err
	}
	opts.Sign = envelope.SignOptions{Credentials: creds, KeyID: *f.key, Endpoint: *f.endpoint}
	if *f.sendCredentials {
		opts.SendCredentials = creds
	}
	return chat.New(opts)
}

// trust reads what the enclave must be.
func (f *clientFlags) trust() (attest.Options, error) {
	data, err := readLimited(*f.policy, 1<<20)
	if err != nil {
		return attest.Options{}, err
	}
	policy, err := attest.ParsePolicy(data)
	if err != nil {
		return attest.Options{}, fmt.Errorf("%s: %w", *f.policy, err)
	}
	policy.AllowDebug = policy.AllowDebug || *f.allowDebug
	opts := attest.Options{Policy: policy}
	if *f.roots != "" {
		opts.Roots, err = certificatesFrom(*f.roots)
	}
	return opts, err
}

// readLimited reads a file of at most limit bytes.
func readLimited(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return data, err
}

func runClient(ctx context.Context, args []string, s streams) error {
	fs := newFlags("client", clientAbout, s)
	f := newClientFlags(fs)
	talk := newTalkFlags(fs)
	serve := newServeFlags(fs)
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if wrong := f.check(); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	if talk.once && *serve.listen != "" {
		return badUsage(fs, "-q and -serve exclude each other")
	}
	if wrong := serve.check(*serve.listen != ""); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	var steps *step.Printer
	if *talk.verbose {
		steps = step.New(s.err, "client")
	}
	c, err := f.client(steps)
	if err != nil {
		return err
	}
	if *serve.listen != "" {
		return serve.run(ctx, c, s)
	}
	return talk.run(ctx, c, s)
}
