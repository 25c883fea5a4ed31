package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/model"
	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
)

// modelPCR is the register that is extended by the model's digest: the first
// that is free for the enclave (AWS Nitro Enclaves user guide, "Where to get an
// enclave's measurements").
const modelPCR = 16

// booted is an enclave that is ready to serve.
type booted struct {
	nsm       *attest.NSM
	roots     []*x509.Certificate // nil means AWS's
	pcrs      attest.PCRs
	kms       *egressKMS
	recipient *envelope.Recipient
	model     inference.Model
	sessions  *session.Enclave
}

func (b *booted) close() {
	if b.sessions != nil {
		b.sessions.Close()
	}
	if b.model != nil {
		b.model.Close()
	}
	b.nsm.Close()
}

// boot checks where it runs, loads the model, measures it and makes the
// enclave's keys, in this order: no question can be sealed to an enclave that
// has not measured its model.
func (f *enclaveFlags) boot(ctx context.Context, s streams, logger *slog.Logger) (_ *booted, err error) {
	b := &booted{}
	if b.nsm, b.roots, err = f.openNSM(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.pcrs, err = ownPCRs(ctx, b.nsm); err != nil {
		return nil, err
	}
	if err := refuseDebug(b.pcrs, *f.allowDebug); err != nil {
		return nil, err
	}
	if err := checkClock(ctx, b.nsm, b.roots, logger); err != nil {
		return nil, err
	}
	if b.kms, err = f.kms(); err != nil {
		return nil, err
	}
	if b.model, err = f.openModel(ctx, b, s, logger); err != nil {
		return nil, err
	}
	if err := b.measureModel(ctx); err != nil {
		return nil, err
	}
	b.recipient, err = envelope.NewRecipient(ctx, envelope.RecipientOptions{Attester: b.nsm, Entropy: b.nsm})
	return b, err
}

// refuseDebug refuses debug mode, which zero registers reveal.
func refuseDebug(pcrs attest.PCRs, allow bool) error {
	if pcrs[0].IsZero() && !allow {
		return errors.New("this enclave runs in debug mode (PCR0 is zero), where the parent can read what it prints and no client should trust it: start it without --debug-mode, or give -allow-debug")
	}
	return nil
}

// measureModel extends modelPCR by the SHA-256 of the model's file and locks
// all registers: from here on no code can make the enclave look like another.
func (b *booted) measureModel(ctx context.Context) error {
	digest, err := hex.DecodeString(b.model.Info().Digest)
	if err != nil || len(digest) == 0 {
		return errors.New("the model has no digest to measure")
	}
	value, err := b.nsm.ExtendPCR(ctx, modelPCR, digest)
	if err != nil {
		return fmt.Errorf("measuring the model: %w", err)
	}
	b.pcrs[modelPCR] = value
	if err := b.nsm.LockPCRs(ctx, 32); err != nil {
		return fmt.Errorf("locking the registers: %w", err)
	}
	return nil
}

// openNSM opens the device, or the software one, and says under which roots its
// documents verify.
func (f *enclaveFlags) openNSM() (*attest.NSM, []*x509.Certificate, error) {
	if *f.simulateNSM == "" {
		nsm, err := attest.OpenNSM(attest.NSMOptions{})
		return nsm, nil, err
	}
	pem, err := os.ReadFile(*f.simulateNSM)
	if err != nil {
		return nil, nil, err
	}
	ca, err := nsmtest.ParseCA(pem)
	if err != nil {
		return nil, nil, err
	}
	binary, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	pcrs, err := f.measure(binary)
	if err != nil {
		return nil, nil, err
	}
	// As on AWS, each start is another module: clients tell by it whether an
	// enclave is still the one that they knew.
	var id [8]byte
	rand.Read(id[:])
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs, ModuleID: "i-0123456789abcdef0-enc" + hex.EncodeToString(id[:])})
	if err != nil {
		return nil, nil, err
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	return nsm, []*x509.Certificate{ca.Root()}, err
}

// measure computes the simulated image's PCRs. An image for a sealed model has
// the model's digest in the place of the model.
func (f *enclaveFlags) measure(binary string) (attest.PCRs, error) {
	if *f.simulatePCRs != "" {
		return simulatedPCRs(*f.simulatePCRs)
	}
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

func (f *enclaveFlags) openModel(ctx context.Context, b *booted, s streams, logger *slog.Logger) (inference.Model, error) {
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
		return f.openSealedModel(ctx, b, s, opts)
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
