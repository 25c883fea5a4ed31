package badinput

import (
	"context"
	"errors"
	"iter"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// keyID is the name of the enclave's key; the parent has been told it, too.
func (w *world) keyID() session.KeyID {
	e, err := w.sessions.Establish(context.Background())
	if err != nil {
		return session.KeyID{}
	}
	return e.KeyID
}

var errCaptured = errors.New("captured")

// capturing is a transport that keeps the sealed request, instead of sending it.
type capturing struct {
	session.Transport
	request []byte
}

func (c *capturing) Ask(_ context.Context, request []byte) iter.Seq2[[]byte, error] {
	c.request = append([]byte(nil), request...)
	return func(yield func([]byte, error) bool) { yield(nil, errCaptured) }
}

// capture returns a good sealed request that nobody has seen.
func (w *world) capture() []byte {
	c := &capturing{Transport: sessionrpc.NewTransport(w.rpc)}
	client, err := session.NewClient(session.ClientOptions{Transport: c, Enclave: w.trust()})
	if err != nil {
		return []byte(err.Error())
	}
	for range client.Ask(context.Background(), plain(wire.Question{Request: inference.Request{Prompt: "hello"}})) {
	}
	return c.request
}

// deliver sends a sealed request to the enclave, and reads the answer.
func (w *world) deliver(request []byte) error {
	for _, err := range sessionrpc.NewTransport(w.rpc).Ask(context.Background(), request) {
		if err != nil {
			return err
		}
	}
	return nil
}

// plain is a question without KMS.
func plain(q wire.Question) session.PayloadFunc {
	return func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		encoded, err := wire.EncodeQuestion(q)
		if err != nil {
			return nil, err
		}
		return session.Data{Plain: encoded}.Encode()
	}
}

// question is a ciphertext of the blog post's form.
func (w *world) question() []byte {
	out, err := w.api(credentialsOf(accessKey, secretKey, sessionToken)).Encrypt(context.Background(), &kms.EncryptInput{KeyId: aws.String(w.key), Plaintext: []byte("hello")})
	if err != nil {
		return nil
	}
	return out.CiphertextBlob
}
