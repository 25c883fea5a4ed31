// Package chat is the chatbot's client: it encrypts a question with KMS, posts
// it to the parent and opens the answer. Question and answer exist in clear
// only here and inside the enclave.
package chat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// DefaultTemplate is the prompt form of the embedded model; %s is the question.
const DefaultTemplate = "Question: %s\nAnswer:"

// Options configures a Client.
type Options struct {
	// ParentURL is the parent's base URL, such as https://parent.example:5001.
	// The delegated credentials travel in the requests, so plain http is
	// taken for loopback addresses only, unless PlainHTTP is set.
	ParentURL string
	// PlainHTTP allows http to any host.
	PlainHTTP bool
	// KMS encrypts questions and opens answers, with the user's own
	// credentials, which stay in this process.
	KMS *envelope.Client
	// Delegate gives the credentials that are sent along for the enclave's
	// KMS calls. The parent can read them: they should be good for nothing
	// but the enclave's two calls.
	Delegate aws.CredentialsProvider
	// Region of the key.
	Region string
	// Template is the model's prompt form with one %s for the question.
	// Empty means DefaultTemplate.
	Template string
	// KeepCase sends the question as it was typed. Otherwise it is sent in
	// lower case, which is how the embedded model was trained.
	KeepCase bool
	// HTTP is the client for the parent; nil means one without a time-out of
	// its own (the context's deadline rules).
	HTTP *http.Client
	// Steps, if not nil, is told of each step.
	Steps *step.Printer
}

// Sampling says how the model chooses tokens. The zero value is greedy with
// the enclave's default length.
type Sampling struct {
	MaxTokens   int
	Temperature float32
	TopK        int
	Seed        uint32
}

// Client asks questions. It is safe for concurrent use.
type Client struct {
	opts Options
	url  string
}

// New checks opts and returns a Client.
func New(opts Options) (*Client, error) {
	if opts.Template == "" {
		opts.Template = DefaultTemplate
	}
	if strings.Count(opts.Template, "%s") != 1 {
		return nil, errors.New("chat: the prompt template needs exactly one %s")
	}
	if opts.KMS == nil || opts.Delegate == nil || opts.Region == "" {
		return nil, errors.New("chat: KMS, Delegate and Region are required")
	}
	u, err := url.Parse(opts.ParentURL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, errors.New("chat: the parent's URL must be http://HOST:PORT or https://HOST:PORT")
	}
	if u.Scheme == "http" && !opts.PlainHTTP && !loopback(u.Hostname()) {
		return nil, errors.New("chat: plain http to another machine would show the delegated credentials to the network: use https")
	}
	if opts.HTTP == nil {
		opts.HTTP = &http.Client{Transport: &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     time.Minute,
		}}
	}
	return &Client{opts: opts, url: u.JoinPath(wire.Path).String()}, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Ask sends one question and waits for its answer, until ctx ends.
//
// Errors: wire.ErrEmpty, wire.ErrNotUTF8 and wire.ErrTooLong for the question
// itself; a wire.Reason for whatever parent, enclave or the enclave's KMS
// calls refused; envelope's errors for the client's own KMS calls. All of them
// work with errors.Is.
func (c *Client) Ask(ctx context.Context, question string, s Sampling) (wire.Answer, error) {
	if !utf8.ValidString(question) {
		return wire.Answer{}, wire.ErrNotUTF8
	}
	if strings.TrimSpace(question) == "" {
		return wire.Answer{}, wire.ErrEmpty
	}
	if !c.opts.KeepCase {
		question = strings.ToLower(question)
	}
	plaintext, err := wire.EncodeQuestion(wire.Question{
		Prompt:    strings.Replace(c.opts.Template, "%s", question, 1),
		MaxTokens: s.MaxTokens, Temperature: s.Temperature, TopK: s.TopK, Seed: s.Seed,
	})
	if err != nil {
		return wire.Answer{}, err
	}
	defer clear(plaintext)

	id := wire.NewRequestID()
	start := time.Now()
	sealed, err := c.opts.KMS.Encrypt(ctx, plaintext, wire.RequestContext(id))
	if err != nil {
		return wire.Answer{}, fmt.Errorf("encrypting the question: %w", err)
	}
	c.opts.Steps.Print(1, "encrypt", time.Since(start),
		"question of %d bytes -> KMS ciphertext of %d bytes, context direction=request request=%s", len(plaintext), len(sealed), id)

	reply, err := c.post(ctx, id, sealed)
	if err != nil {
		return wire.Answer{}, err
	}

	start = time.Now()
	opened, err := c.opts.KMS.DecryptUnattested(ctx, reply.EncryptedData, wire.ResponseContext(id))
	if err != nil {
		return wire.Answer{}, fmt.Errorf("opening the answer: %w", err)
	}
	defer clear(opened)
	answer, err := wire.DecodeAnswer(opened)
	if err != nil {
		return wire.Answer{}, err
	}
	c.opts.Steps.Print(7, "decrypt", time.Since(start),
		"KMS ciphertext of %d bytes -> answer of %d bytes, context direction=response, same request", len(reply.EncryptedData), len(opened))
	return answer, nil
}

// post sends the encrypted question with the delegated credentials.
func (c *Client) post(ctx context.Context, id string, sealed []byte) (wire.AskResponse, error) {
	var none wire.AskResponse
	creds, err := c.opts.Delegate.Retrieve(ctx)
	if err != nil {
		return none, fmt.Errorf("getting the credentials for the enclave: %w", err)
	}
	body, err := json.Marshal(&wire.AskRequest{
		RequestID:       id,
		AccessKeyID:     creds.AccessKeyID,
		SecretAccessKey: creds.SecretAccessKey,
		SessionToken:    creds.SessionToken,
		Region:          c.opts.Region,
		Ciphertext:      sealed,
	})
	if err != nil {
		return none, errors.New("chat: cannot encode the request")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return none, fmt.Errorf("chat: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	start := time.Now()
	resp, err := c.opts.HTTP.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return none, fmt.Errorf("%w (no reply from the parent)", wire.ReasonDeadline)
		}
		return none, fmt.Errorf("the parent cannot be reached: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxMessage+1))
	if err != nil {
		return none, fmt.Errorf("reading the parent's reply: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return none, replyError(resp.StatusCode, data)
	}
	var reply wire.AskResponse
	if err := wire.DecodeJSON(data, &reply); err != nil {
		return none, fmt.Errorf("the parent's reply: %w", err)
	}
	if reply.RequestID != id {
		return none, errors.New("the parent's reply belongs to another request")
	}
	c.opts.Steps.Print(2, "post", time.Since(start), "%d bytes of JSON to %s, %d bytes back", len(body), c.url, len(data))
	return reply, nil
}

// replyError makes the error of a reply that is not 200. The parent is not
// trusted: a code that is not in the table becomes ReasonInternal, and its
// text is never shown.
func replyError(status int, data []byte) error {
	var e wire.ErrorResponse
	if wire.DecodeJSON(data, &e) != nil {
		return fmt.Errorf("the parent answered HTTP %d: %w", status, wire.ReasonInternal)
	}
	return wire.ParseReason(string(e.Error.Code))
}
