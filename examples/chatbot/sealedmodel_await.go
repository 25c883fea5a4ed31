package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// released is what a model's owner answers with, once the enclave has the key.
const released = "released"

// awaitRelease serves until the model's owner has released the key of the
// sealed model (chatbot model release), and returns a way to open streams with
// it. The owner verifies the enclave and signs one KMS request: no credentials
// come here. Questions are told that the enclave is not ready.
func (f *enclaveFlags) awaitRelease(ctx context.Context, b *booted, s streams, recipient *envelope.Recipient, digest string, logger *slog.Logger) (streamOpener, error) {
	keyARN := f.sealed.key(*f.keyARN)
	courier, err := envelope.NewCourier(envelope.CourierOptions{HTTP: b.kms.http, Endpoint: b.kms.endpoint, KeyID: keyARN, Recipient: recipient})
	if err != nil {
		return streamOpener{}, err
	}
	info, err := wire.EncodeInfo(wire.Info{ModelDigest: digest, KeyARN: keyARN})
	if err != nil {
		return streamOpener{}, err
	}
	// Another one serves questions later. Its keys are others, and this one
	// opens no question that could be sent to both.
	sessions, err := session.NewEnclave(session.EnclaveOptions{Recipient: recipient, Info: info})
	if err != nil {
		return streamOpener{}, err
	}
	defer sessions.Close()
	r := &release{courier: courier, digest: digest, key: make(chan []byte, 1)}
	srv := vsockrpc.NewServer(vsockrpc.ServerOptions{MaxMessageSize: session.MaxRequest, MaxStreams: 16, MaxConns: 16, Logger: logger})
	sessionrpc.Register(srv, sessions, r.take)
	l, err := vsockrpc.Listen(*f.listen)
	if err != nil {
		return streamOpener{}, err
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	defer srv.Close()
	if err := sayReady(s.out, local.EnclaveReady{Listen: *f.listen, ModelDigest: digest, PCRs: b.pcrs, AwaitsRelease: true}); err != nil {
		return streamOpener{}, err
	}
	select {
	case err := <-failed:
		return streamOpener{}, err
	case <-ctx.Done():
		return streamOpener{}, fmt.Errorf("nobody released the model's key: %w", ctx.Err())
	case key := <-r.key:
		// The owner is told before the connection ends.
		grace, done := context.WithTimeout(ctx, 5*time.Second)
		defer done()
		srv.Shutdown(grace)
		client, err := envelope.NewClient(envelope.Options{KMS: b.kms.withCredentials(aws.AnonymousCredentials{}), KeyID: keyARN})
		return streamOpener{client, func(context.Context, []byte, envelope.EncryptionContext) ([]byte, error) { return key, nil }}, err
	}
}

// streamOpener opens sealed streams: with decrypt, or with client's own Decrypt
// where that is nil.
type streamOpener struct {
	client  *envelope.Client
	decrypt func(context.Context, []byte, envelope.EncryptionContext) ([]byte, error)
}

// release takes the key of one model, once.
type release struct {
	courier *envelope.Courier
	digest  string
	once    sync.Once
	key     chan []byte
}

// take is the sessionrpc.Handler of releases.
func (r *release) take(ctx context.Context, req *session.Request, resp *session.Response) error {
	defer clear(req.Payload)
	data, err := session.DecodeData(req.Payload)
	if err != nil || data.Signed == nil {
		return remoteReason(wire.ReasonNotReady)
	}
	key, err := r.courier.Decrypt(ctx, data.Signed, sealedModelContext(r.digest))
	switch {
	case errors.Is(err, envelope.ErrNotDelegated):
		// A question, or the release of another model.
		return remoteReason(wire.ReasonNotReady)
	case errors.Is(err, envelope.ErrDenied):
		return remoteReason(wire.ReasonKMSDenied)
	case err != nil:
		return remoteReason(wire.ReasonKMSUnavailable)
	}
	if err := resp.Finish([]byte(released)); err != nil {
		return err
	}
	used := false
	r.once.Do(func() {
		r.key <- key
		used = true
	})
	if !used {
		clear(key)
	}
	return nil
}

func remoteReason(r wire.Reason) error {
	return &session.RemoteError{Code: string(r), Message: r.Error()}
}
