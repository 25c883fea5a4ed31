// Package chat is the chatbot's client: it verifies the enclave, seals each
// question under KMS and to the enclave's key, and opens the answer as it
// comes. Question and answer exist in clear only here and inside the enclave.
package chat

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/ask"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
	"github.com/nitroseal/nitroseal/inference"
)

// Options configures a Client.
type Options struct {
	// ParentURL is the parent's base URL, such as https://parent.example:5001.
	ParentURL string
	// Enclave says which enclave is trusted. Its zero Policy trusts none.
	Enclave attest.Options
	// Simulated says that Enclave.Roots are not AWS's.
	Simulated bool
	// KMS seals questions, with the user's own credentials, which stay in this
	// process. nil means without KMS: then only the session protects the
	// question, and the enclave must have been told to accept that.
	KMS *envelope.Client
	// Sign says with what the KMS requests are signed that the enclave sends:
	// credentials, key and endpoint. Its Enclave is not used.
	Sign envelope.SignOptions
	// SendCredentials are sent to the enclave, sealed, in place of a signed
	// request. They let the enclave do all that they allow: discouraged.
	SendCredentials aws.CredentialsProvider
	// ModelDigest, if not empty, is the SHA-256 in hexadecimal that the model
	// must have.
	ModelDigest string
	// KeepCase sends questions as they were typed also to a model that knows
	// lower case only.
	KeepCase bool
	// RetryElsewhere asks again when another enclave has taken the place of
	// the one that a question was sealed to (session.ClientOptions).
	RetryElsewhere bool
	// Steps, if not nil, is told of each step.
	Steps *step.Printer
}

// Client is an ask.Asker. It is safe for concurrent use.
type Client struct {
	opts    Options
	session *session.Client
	scope   [wire.ScopeSize]byte
}

var _ ask.Asker = (*Client)(nil)

// New checks opts and returns a Client. It does not connect yet.
func New(opts Options) (*Client, error) {
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: opts.ParentURL})
	if err != nil {
		return nil, errors.New("the parent's URL must be http://HOST:PORT or https://HOST:PORT")
	}
	if opts.Enclave.Cache == nil {
		opts.Enclave.Cache = attest.NewChainCache(0)
	}
	opts.Sign.Enclave = opts.Enclave
	s, err := session.NewClient(session.ClientOptions{
		Transport: transport, Enclave: opts.Enclave, RetryElsewhere: opts.RetryElsewhere,
	})
	if err != nil {
		return nil, err
	}
	c := &Client{opts: opts, session: s}
	rand.Read(c.scope[:])
	return c, nil
}

// establish verifies an enclave, unless one was lately, and its model.
func (c *Client) establish(ctx context.Context) (*session.Established, wire.Info, error) {
	start := time.Now()
	e, err := c.session.Establish(ctx)
	if err != nil {
		return nil, wire.Info{}, translate(ctx, err)
	}
	info, err := c.infoOf(e)
	if err != nil {
		return nil, wire.Info{}, err
	}
	if !e.VerifiedAt.Before(start) {
		c.opts.Steps.Print(1, "attest", time.Since(start), "document of %d bytes verified: PCR0=%.12s…, policy met, key %v (%v) until %s",
			len(e.Raw), fmt.Sprintf("%x", []byte(e.Document.PCRs[0])), e.KeyID, e.Config.KEM, e.Config.NotAfter.Format("15:04 MST"))
	}
	return e, info, nil
}

// infoOf reads what the enclave attests, and holds its model and its KMS key to
// what is wanted.
func (c *Client) infoOf(e *session.Established) (wire.Info, error) {
	info, err := wire.DecodeInfo(e.Config.Info)
	if err != nil {
		return wire.Info{}, err
	}
	if want := c.opts.ModelDigest; want != "" && !strings.EqualFold(want, info.ModelDigest) {
		return wire.Info{}, fmt.Errorf("%w: sha256 %s, not %s", ErrModel, info.ModelDigest, want)
	}
	if c.opts.KMS != nil && info.KeyARN != c.opts.Sign.KeyID {
		return wire.Info{}, fmt.Errorf("%w: %q, not %s", ErrKey, info.KeyARN, c.opts.Sign.KeyID)
	}
	return info, nil
}

// Attestation implements ask.Asker.
func (c *Client) Attestation(ctx context.Context) (*ask.Attestation, error) {
	e, info, err := c.establish(ctx)
	if err != nil {
		return nil, err
	}
	a := &ask.Attestation{
		Document: e.Document, Raw: e.Raw, Policy: c.opts.Enclave.Policy, Simulated: c.opts.Simulated, VerifiedAt: e.VerifiedAt,
		Key: ask.Key{ID: e.KeyID.String(), Suite: e.Config.KEM.String(), NotAfter: e.Config.NotAfter},
		Model: ask.Model{
			Name: info.ModelName, Digest: info.ModelDigest, Parameters: info.Parameters,
			MaxTokens: info.MaxTokens, Engine: info.Engine, Lowercase: info.Lowercase,
		},
		Parent: c.opts.ParentURL,
	}
	if c.opts.KMS != nil {
		a.KMSKey = c.opts.Sign.KeyID
	}
	for _, m := range c.opts.Enclave.Policy.Measurements {
		if meets(e.Document.PCRs, m.PCRs) {
			a.Measurement = m.Name
			break
		}
	}
	return a, nil
}

func meets(found, expected attest.PCRs) bool {
	for i, v := range expected {
		if !v.Equal(found[i]) {
			return false
		}
	}
	return len(expected) > 0
}

// Ask implements ask.Asker. The questions of one Client may reuse each other's
// work in the enclave; those of different Clients never do.
func (c *Client) Ask(ctx context.Context, q ask.Question) iter.Seq2[ask.Chunk, error] {
	return func(yield func(ask.Chunk, error) bool) {
		if err := c.ask(ctx, q, yield); err != nil {
			yield(ask.Chunk{}, err)
		}
	}
}

// ask yields the chunks, and returns why there are no more; nil also when the
// caller has left the loop.
func (c *Client) ask(ctx context.Context, q ask.Question, yield func(ask.Chunk, error) bool) error {
	_, info, err := c.establish(ctx)
	if err != nil {
		return err
	}
	q.CacheScope, q.PublicPrefix = "", 0
	if info.Lowercase && !c.opts.KeepCase {
		q.Request = lowercase(q.Request)
	}
	// What is wrong with the question is said before anybody is asked.
	encoded, err := wire.EncodeQuestion(wire.Question{Request: q.Request, Scope: c.scope[:], Receipt: q.Receipt})
	if err != nil {
		return err
	}
	defer clear(encoded)

	start := time.Now()
	var text strings.Builder
	segments, done := 0, false
	for message, err := range c.session.Ask(ctx, c.payload(encoded, &info)) {
		if err != nil {
			return translate(ctx, err)
		}
		segments++
		chunk, err := wire.DecodeChunk(message)
		clear(message)
		if err != nil {
			return err
		}
		if done {
			return errors.New("chat: the enclave goes on after its last chunk")
		}
		done = chunk.FinishReason != ""
		out := ask.Chunk{Chunk: chunk.Chunk}
		if q.Receipt {
			text.WriteString(chunk.Text)
			if done {
				if out.Receipt, err = c.receipt(&q.Request, text.String(), chunk.FinishReason, info.ModelDigest, chunk.Receipt); err != nil {
					return err
				}
			}
		}
		if !yield(out, nil) {
			return nil
		}
	}
	if !done {
		return errors.New("chat: the answer has no last chunk")
	}
	c.opts.Steps.Print(6, "answer", time.Since(start), "%d segments opened, each authentic and in order", segments)
	return nil
}

// payload seals the encoded question under KMS, for this request only, and sets
// info to what the enclave attests that gets it.
func (c *Client) payload(encoded []byte, info *wire.Info) session.PayloadFunc {
	return func(ctx context.Context, e *session.Established, id session.RequestID) ([]byte, error) {
		start := time.Now()
		// It may be another enclave than before, if the request is sent again.
		var err error
		if *info, err = c.infoOf(e); err != nil {
			return nil, err
		}
		data, how, err := c.seal(ctx, encoded, e, id)
		if err != nil {
			return nil, err
		}
		payload, err := data.Encode()
		if err != nil {
			return nil, err
		}
		c.opts.Steps.Print(2, "seal", time.Since(start), "question of %d bytes -> %d bytes %s, all of it sealed to key %v", len(encoded), len(payload), how, e.KeyID)
		return payload, nil
	}
}

func (c *Client) seal(ctx context.Context, encoded []byte, e *session.Established, id session.RequestID) (session.Data, string, error) {
	if c.opts.KMS == nil {
		return session.Data{Plain: encoded}, "without KMS", nil // Encode copies it
	}
	ec := wire.RequestContext(id.String())
	if c.opts.SendCredentials == nil {
		data, err := session.SealData(ctx, c.opts.KMS, c.opts.Sign, ec, encoded, e.Raw)
		return data, "under a data key of KMS, with a signed request for one Decrypt", err
	}
	creds, err := c.opts.SendCredentials.Retrieve(ctx)
	if err != nil {
		return session.Data{}, "", fmt.Errorf("getting the credentials for the enclave: %w", err)
	}
	sealed, err := c.opts.KMS.Seal(ctx, encoded, ec, envelope.StreamOptions{Workers: 1})
	if err != nil {
		return session.Data{}, "", err
	}
	return session.Data{Sealed: sealed, Credentials: &session.Credentials{
		AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.SessionToken,
	}}, "under a data key of KMS, with credentials", nil
}

// receipt makes the file of a receipt, and verifies it as others will.
func (c *Client) receipt(r *inference.Request, answer string, finish inference.FinishReason, modelDigest string, receipt []byte) ([]byte, error) {
	f := wire.ReceiptFile{Request: *r, Answer: answer, FinishReason: finish, ModelDigest: modelDigest, Receipt: receipt}
	if _, err := f.Verify(c.opts.Enclave); err != nil {
		return nil, fmt.Errorf("the enclave's receipt: %w", err)
	}
	return f.Marshal()
}

// lowercase returns r with what the user said in lower case.
func lowercase(r inference.Request) inference.Request {
	r.Prompt = lowercasePrompt(r.Prompt)
	messages := make([]inference.Message, len(r.Messages))
	for i, m := range r.Messages {
		if m.Role == inference.RoleUser {
			m.Content = toLower(m.Content)
		}
		messages[i] = m
	}
	r.Messages = messages
	return r
}

// lowercasePrompt leaves the markers of the plain prompt form as they are, for
// prompts that have them.
func lowercasePrompt(prompt string) string {
	lines := strings.Split(prompt, "\n")
	for i, line := range lines {
		head := ""
		for _, marker := range []string{"Question:", "Answer:"} {
			if strings.HasPrefix(line, marker) {
				head = marker
			}
		}
		if head != "Answer:" {
			lines[i] = head + toLower(line[len(head):])
		}
	}
	return strings.Join(lines, "\n")
}

// toLower leaves text that is not UTF-8 as it is, for it to be refused, where
// strings.ToLower would mend it.
func toLower(s string) string {
	if !utf8.ValidString(s) {
		return s
	}
	return strings.ToLower(s)
}
