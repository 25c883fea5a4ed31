package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/blog"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

const enclaveAbout = `
Answers questions, inside the enclave: attests a key to each client, opens what
is sealed to it, has KMS open the question by attestation, asks the language
model and seals the answer token by token.

KMS is reached through the parent: each -egress HOST:PORT=ADDR names the vsock
or unix address behind which the parent forwards to that host and port. Nothing
else can be reached. TLS to KMS ends in this process, under AWS's own roots
unless -kms-ca names others.

The model is the embedded one, -model or -sealed-model. It runs on libllama,
which "go run ./inference/llama/install" installs. Its digest goes into PCR16,
and the registers are locked before the first question.

At the start it refuses to run in debug mode, where the parent can read the
console, and with a clock that differs from the NSM's. Nothing confidential is
ever printed.
` + sealedModelAbout

type enclaveFlags struct {
	listen, region, keyARN     *string
	kmsEndpoint, kmsCA         *string
	modelFile, modelDigest     *string
	library, simulateNSM       *string
	simulatePCRs               *string
	threads, sequences         *int
	contextSize, maxTokens     *int
	rotate, drain              *time.Duration
	allowDebug, withoutKMS     *bool
	takeCredentials, lowercase *bool
	blogMode                   *bool
	blogKeyARN                 *string
	verbose, supervised        *bool
	egress                     pairs
	sealed                     sealedFlags
}

func runEnclave(ctx context.Context, args []string, s streams) error {
	fs := newFlags("enclave", enclaveAbout, s)
	f := enclaveFlags{
		listen:          fs.String("listen", "vsock://any:5000", "`address` to serve on: vsock://any:PORT or unix:///PATH"),
		region:          fs.String("region", "us-east-1", "AWS region of the key"),
		keyARN:          fs.String("key-arn", "", "`ARN` of the KMS key that questions are sealed under (required, unless -without-kms)"),
		kmsEndpoint:     fs.String("kms-endpoint", "", "`URL` of KMS; empty means AWS's for the region"),
		kmsCA:           fs.String("kms-ca", "", "PEM `file` of the roots to trust for KMS; empty means AWS's, which are built in"),
		modelFile:       fs.String("model", "", "GGUF `file` to use in place of the embedded model"),
		modelDigest:     fs.String("model-digest", "", "SHA-256 or SHA-384 in hexadecimal that the model of -model or -sealed-model must have"),
		lowercase:       fs.Bool("lowercase", false, "the model knows lower-case questions only, as the embedded one does; clients are told"),
		library:         fs.String("llama-lib", "", "`folder` of libllama; empty means where the installer put it, or the system's"),
		simulateNSM:     fs.String("simulate-nsm", "", "use a software NSM with the certificate authority in this PEM `file`; for development, trusted by nobody who is not told to"),
		simulatePCRs:    fs.String("simulate-pcrs", "", "`file` with the measurements of the image, for -simulate-nsm; empty means those of program and model"),
		threads:         fs.Int("threads", 0, "threads for inference; 0 means one a core"),
		sequences:       fs.Int("sequences", 8, "questions answered side by side"),
		contextSize:     fs.Int("context", 4352, "tokens that one conversation and its answer may have together"),
		maxTokens:       fs.Int("max-tokens", service.DefaultMaxTokens, "most new tokens of one answer"),
		rotate:          fs.Duration("rotate-keys", 30*time.Minute, "how long one key is given out to clients"),
		drain:           fs.Duration("drain", 30*time.Second, "how long answers under way may take when the enclave is told to stop"),
		allowDebug:      fs.Bool("allow-debug", false, "run in debug mode too, where the parent reads the console and clients should refuse"),
		withoutKMS:      fs.Bool("without-kms", false, "also take questions that only the session seals, without KMS"),
		takeCredentials: fs.Bool("take-credentials", false, "also take questions that come with credentials in place of a signed request (client -send-credentials; discouraged)"),
		blogMode:        fs.Bool("insecure-blog-mode", false, "also answer the client of the AWS blog post, whose credentials the parent reads"),
		blogKeyARN:      fs.String("blog-key-arn", "", "`ARN` of the KMS key for that; empty means -key-arn"),
		verbose:         fs.Bool("v", false, "tell each step"),
		supervised:      supervisedFlag(fs),
		sealed:          newSealedFlags(fs),
	}
	fs.Var(&f.egress, "egress", "`HOST:PORT=ADDR`: reach HOST:PORT through the parent's ADDR, such as vsock://3:8000 (repeatable)")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *f.keyARN == "" && !*f.withoutKMS {
		return badUsage(fs, "-key-arn is required, or -without-kms")
	}
	if *f.keyARN == "" && *f.blogMode && *f.blogKeyARN == "" {
		return badUsage(fs, "-insecure-blog-mode needs -key-arn or -blog-key-arn")
	}
	if wrong := f.sealed.check(*f.modelFile, *f.modelDigest); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	ctx, cancel := supervise(ctx, *f.supervised, s.in)
	defer cancel()
	return f.serve(ctx, s)
}

// serve runs the enclave until ctx ends, and lets answers under way finish.
func (f *enclaveFlags) serve(ctx context.Context, s streams) error {
	logger := slog.New(slog.NewTextHandler(s.err, nil))
	var steps *step.Printer
	if *f.verbose {
		steps = step.New(s.err, "enclave")
		logger = nil // the steps say it already
	}
	b, err := f.boot(ctx, s, logger)
	if err != nil {
		return err
	}
	defer b.close()

	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest, MaxStreams: 256, MaxConns: 16, Logger: logger})
	if err := f.register(ctx, srv, b, logger, steps); err != nil {
		return err
	}
	l, err := vsockrpc.Listen(*f.listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	info := b.model.Info()
	ready := local.EnclaveReady{Listen: *f.listen, Model: info.Name, ModelDigest: info.Digest, PCRs: b.pcrs}
	if err := sayReady(s.out, ready); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.WithoutCancel(ctx), *f.drain)
	defer done()
	if err := srv.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return srv.Close()
}

// register makes the services and puts them onto srv.
func (f *enclaveFlags) register(ctx context.Context, srv *vsockrpc.Server, b *booted, logger *slog.Logger, steps *step.Printer) error {
	m := b.model.Info()
	info, err := wire.EncodeInfo(wire.Info{
		ModelName: m.Name, ModelDigest: m.Digest, Parameters: m.Parameters, MaxTokens: m.MaxTokens, Engine: m.Engine,
		Lowercase: *f.lowercase || m.Digest == model.Digest, KeyARN: *f.keyARN,
	})
	if err != nil {
		return err
	}
	sessions, err := session.NewEnclave(session.EnclaveOptions{Attester: b.nsm, Recipient: b.recipient, Info: info, RotateAfter: *f.rotate})
	if err != nil {
		return err
	}
	b.sessions = sessions
	data, err := f.dataOpener(b)
	if err != nil {
		return err
	}
	svc, err := service.New(service.Options{
		Model: b.model, Data: data, Receipt: sessions.Receipt, MaxTokens: *f.maxTokens, PCRs: b.pcrs, Logger: logger, Steps: steps,
	})
	if err != nil {
		return err
	}
	sessionrpc.Register(srv, sessions, svc.Answer)
	if !*f.blogMode {
		return nil
	}
	key := *f.blogKeyARN
	if key == "" {
		key = *f.keyARN
	}
	insecure, err := blog.NewService(blog.ServiceOptions{
		Model: b.model, Recipient: b.recipient, NewKMS: b.kms.withCredentials, KeyARN: key, Region: *f.region, Logger: logger,
	})
	if err != nil {
		return fmt.Errorf("insecure blog mode: %w", err)
	}
	srv.Handle(blog.Method, insecure.Ask)
	return nil
}
