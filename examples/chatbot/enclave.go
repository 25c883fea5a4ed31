package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/service"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/vsockrpc"
	"github.com/nitroseal/nitroseal/vsockrpc/proxy"
)

const enclaveAbout = `
Answers questions, inside the enclave: opens each with KMS by attestation, asks
the language model and encrypts the answer.

KMS is reached through the parent: each -egress HOST:PORT=ADDR names the vsock
or unix address behind which the parent forwards to that host and port. Nothing
else can be reached. TLS to KMS ends in this process.

The model is the embedded one, -model or -sealed-model. It runs on libllama,
which "go run ./inference/llama/install" installs.
` + sealedModelAbout

type enclaveFlags struct {
	listen, region, keyARN *string
	kmsEndpoint, kmsCA     *string
	modelFile, modelDigest *string
	library, simulateNSM   *string
	threads, sequences     *int
	contextSize, maxTokens *int
	verbose, supervised    *bool
	egress                 pairs
	sealed                 sealedFlags
}

func runEnclave(ctx context.Context, args []string, s streams) error {
	fs := newFlags("enclave", enclaveAbout, s)
	f := enclaveFlags{
		listen:      fs.String("listen", "vsock://any:5000", "address to serve on: vsock://CID:PORT or unix:///PATH"),
		region:      fs.String("region", "us-east-1", "the AWS region of the key; no other is taken"),
		keyARN:      fs.String("key-arn", "", "ARN of the KMS key; no other is taken (required)"),
		kmsEndpoint: fs.String("kms-endpoint", "", "URL of KMS; empty means AWS's for the region"),
		kmsCA:       fs.String("kms-ca", "", "PEM `file` of the roots to trust for KMS; empty means the system's"),
		modelFile:   fs.String("model", "", "GGUF `file` to use in place of the embedded model"),
		modelDigest: fs.String("model-digest", "", "SHA-256 or SHA-384 in hexadecimal that the model of -model or -sealed-model must have"),
		library:     fs.String("llama-lib", "", "`folder` of libllama; empty means where the installer put it, or the system's"),
		simulateNSM: fs.String("simulate-nsm", "", "use a software NSM with the certificate authority in this PEM `file`; for development, trusted by nobody who is not told to"),
		threads:     fs.Int("threads", 0, "threads for inference; 0 means one a core"),
		sequences:   fs.Int("sequences", 8, "questions answered side by side"),
		contextSize: fs.Int("context", 4352, "tokens that one question and its answer may have together"),
		maxTokens:   fs.Int("max-tokens", service.DefaultMaxTokens, "most new tokens of one answer"),
		verbose:     fs.Bool("v", false, "tell each step"),
		supervised:  supervisedFlag(fs),
		sealed:      newSealedFlags(fs),
	}
	fs.Var(&f.egress, "egress", "`HOST:PORT=ADDR`: reach HOST:PORT through the parent's ADDR, such as vsock://3:8000 (repeatable)")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *f.keyARN == "" {
		return badUsage(fs, "-key-arn is required")
	}
	if wrong := f.sealed.check(*f.modelFile, *f.modelDigest); wrong != "" {
		return badUsage(fs, "%s", wrong)
	}
	ctx, cancel := supervise(ctx, *f.supervised, s.in)
	defer cancel()
	return f.serve(ctx, s)
}

func (f *enclaveFlags) serve(ctx context.Context, s streams) error {
	logger := slog.New(slog.NewTextHandler(s.err, nil))
	var steps *step.Printer
	if *f.verbose {
		steps = step.New(s.err, "enclave")
		logger = nil // the steps say it already
	}

	nsm, err := f.openNSM()
	if err != nil {
		return err
	}
	defer nsm.Close()
	pcrs, err := ownPCRs(ctx, nsm)
	if err != nil {
		return err
	}
	recipient, err := envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: nsm, Entropy: nsm})
	if err != nil {
		return err
	}
	newKMS, err := f.kms()
	if err != nil {
		return err
	}
	m, err := f.openModel(ctx, newKMS, recipient, pcrs, logger)
	if err != nil {
		return err
	}
	defer m.Close()

	svc, err := service.New(service.Options{
		Model: m, Recipient: recipient, NewKMS: newKMS, KeyARN: *f.keyARN, Region: *f.region,
		MaxTokens: *f.maxTokens, PCRs: pcrs, Logger: logger, Steps: steps,
	})
	if err != nil {
		return err
	}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: wire.MaxMessage, MaxStreams: 512, MaxConns: 16, Logger: logger})
	srv.Handle(wire.Method, svc.Ask)
	l, err := vsockrpc.Listen(*f.listen)
	if err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	if err := sayReady(s.out, local.EnclaveReady{Listen: *f.listen, Model: m.Info().Name, PCRs: pcrs}); err != nil {
		return err
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, done := context.WithTimeout(context.Background(), 3*time.Second)
	defer done()
	if err := srv.Shutdown(grace); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return srv.Close()
}

// openNSM opens the device, or the software one.
func (f *enclaveFlags) openNSM() (*attest.NSM, error) {
	if *f.simulateNSM == "" {
		return attest.OpenNSM(attest.NSMOptions{})
	}
	pem, err := os.ReadFile(*f.simulateNSM)
	if err != nil {
		return nil, err
	}
	ca, err := nsmtest.ParseCA(pem)
	if err != nil {
		return nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, err
	}
	pcrs, err := f.measure(binary)
	if err != nil {
		return nil, err
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		return nil, err
	}
	return attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
}

// measure computes the simulated image's PCRs. An image for a sealed model has
// the model's digest in the place of the model.
func (f *enclaveFlags) measure(binary string) (attest.PCRs, error) {
	if *f.sealed.model != "" {
		return local.Measure(binary, strings.NewReader(strings.ToLower(*f.modelDigest)))
	}
	gguf, err := openGGUF(*f.modelFile)
	if err != nil {
		return nil, err
	}
	defer gguf.Close()
	return local.Measure(binary, gguf)
}

// ownPCRs asks the device for PCR0 to PCR2.
func ownPCRs(ctx context.Context, nsm *attest.NSM) (attest.PCRs, error) {
	pcrs := attest.PCRs{}
	for i := range 3 {
		d, err := nsm.DescribePCR(ctx, i)
		if err != nil {
			return nil, err
		}
		pcrs[i] = d.Value
	}
	return pcrs, nil
}

// kms prepares the KMS clients of all requests: one HTTP transport through the
// parent, other credentials each time.
func (f *enclaveFlags) kms() (func(aws.CredentialsProvider) envelope.KMSAPI, error) {
	roots, err := rootsFromFile(*f.kmsCA)
	if err != nil {
		return nil, err
	}
	routes := map[string]string{}
	for _, e := range f.egress {
		routes[e[0]] = e[1]
	}
	dialer, err := proxy.NewDialer(proxy.DialerOptions{Routes: routes})
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: kmsTransport(dialer, roots), Timeout: 20 * time.Second}
	base := kms.Options{Region: *f.region, HTTPClient: client, RetryMaxAttempts: 3}
	if *f.kmsEndpoint != "" {
		base.BaseEndpoint = f.kmsEndpoint
	}
	return func(creds aws.CredentialsProvider) envelope.KMSAPI {
		opts := base
		opts.Credentials = creds
		return kms.New(opts)
	}, nil
}

func kmsTransport(d *proxy.Dialer, roots *x509.CertPool) *http.Transport {
	return &http.Transport{
		DialContext:         d.DialContext,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     time.Minute,
	}
}

func (f *enclaveFlags) openModel(ctx context.Context, newKMS func(aws.CredentialsProvider) envelope.KMSAPI,
	recipient *envelope.Recipient, pcrs attest.PCRs, logger *slog.Logger) (inference.Model, error) {
	opts := llama.Options{
		LibraryDir:   *f.library,
		Threads:      *f.threads,
		ContextSize:  *f.contextSize,
		MaxSequences: *f.sequences,
		Logger:       logger,
	}
	switch {
	case *f.sealed.model != "":
		opts.Digest = *f.modelDigest
		return f.sealed.open(ctx, newKMS, *f.keyARN, recipient, pcrs, opts)
	case *f.modelFile != "":
		opts.ModelPath, opts.Digest = *f.modelFile, *f.modelDigest
	default:
		opts.Model, opts.Digest = model.GGUF, model.Digest
	}
	m, err := llama.Open(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("opening the model: %w", err)
	}
	return m, nil
}

// openGGUF opens the model file, or the embedded model for an empty name.
func openGGUF(name string) (io.ReadCloser, error) {
	if name == "" {
		return io.NopCloser(bytes.NewReader(model.GGUF)), nil
	}
	return os.Open(name)
}
