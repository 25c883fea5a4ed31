package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/step"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const clientAbout = `
Asks questions: encrypts each with KMS, posts it to the parent and opens the
answer. With -q it asks once; otherwise it prompts, a question a line.

The user's own credentials come from -credentials, a file in the form of the
AWS CLI's credential_process, which "aws configure export-credentials" writes,
or else from AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN.
They stay in this process.

The enclave calls KMS with the credentials in -delegate, a file of the same
form. They travel through the parent, which can read them: let them be
temporary ones of a role that may do nothing but the enclave's two calls.
`

func runClient(ctx context.Context, args []string, s streams) error {
	fs := newFlags("client", clientAbout, s)
	parent := fs.String("parent", "http://127.0.0.1:5001", "URL of the parent")
	region := fs.String("region", "us-east-1", "AWS region of the key")
	key := fs.String("key-arn", "", "ARN of the KMS key (required)")
	endpoint := fs.String("kms-endpoint", "", "URL of KMS; empty means AWS's for the region")
	caFile := fs.String("kms-ca", "", "PEM `file` of the roots to trust for KMS; empty means the system's")
	own := fs.String("credentials", "", "`file` with the user's own credentials")
	delegate := fs.String("delegate", "", "`file` with the credentials to send to the enclave")
	sendOwn := fs.Bool("send-own-credentials", false, "send the user's own credentials to the enclave (the parent can read them; discouraged)")
	ask := askFlags(fs)
	template := fs.String("template", chat.DefaultTemplate, "the model's prompt form, with one %s for the question")
	keepCase := fs.Bool("keep-case", false, "send the question as typed, not in lower case")
	plain := fs.Bool("plain-http", false, "allow http to a parent on another machine (the network can read the delegated credentials; discouraged)")
	verbose := fs.Bool("v", false, "tell each step")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *key == "" {
		return badUsage(fs, "-key-arn is required")
	}
	if (*delegate == "") == !*sendOwn {
		return badUsage(fs, "say which credentials the enclave gets: -delegate FILE, or -send-own-credentials")
	}
	ownCreds, err := credentialsFrom(*own)
	if err != nil {
		return err
	}
	sent := ownCreds
	if !*sendOwn {
		if sent, err = credentialsFrom(*delegate); err != nil {
			return err
		}
	}
	client, err := ownersKMS(*region, *endpoint, *caFile, ownCreds)
	if err != nil {
		return err
	}
	sealer, err := envelope.NewClient(envelope.Options{KMS: client, KeyID: *key})
	if err != nil {
		return err
	}
	var steps *step.Printer
	if *verbose {
		steps = step.New(s.err, "client")
	}
	c, err := chat.New(chat.Options{
		ParentURL: *parent, PlainHTTP: *plain, KMS: sealer, Delegate: sent, Region: *region,
		Template: *template, KeepCase: *keepCase, Steps: steps,
	})
	if err != nil {
		return err
	}
	return ask.run(ctx, c, s)
}

// asking is how client and demo ask: their common flags.
type asking struct {
	question string
	once     bool // -q was given
	timeout  *time.Duration
	json     *bool
	sampling chat.Sampling
	temp     *float64
	seed     *uint
}

// ownersKMS returns a client of KMS for a program outside the enclave. An empty
// endpoint means AWS's for the region, an empty caFile the system's roots.
func ownersKMS(region, endpoint, caFile string, creds aws.CredentialsProvider) (*kms.Client, error) {
	roots, err := rootsFromFile(caFile)
	if err != nil {
		return nil, err
	}
	opts := kms.Options{
		Region: region, Credentials: creds,
		HTTPClient: &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		}},
	}
	if endpoint != "" {
		opts.BaseEndpoint = &endpoint
	}
	return kms.New(opts), nil
}

func askFlags(fs *flag.FlagSet) *asking {
	a := &asking{
		timeout: fs.Duration("timeout", time.Minute, "how long to wait for one answer"),
		json:    fs.Bool("json", false, "print the answer as one line of JSON"),
		temp:    fs.Float64("temperature", 0, "0 to 2; 0 always takes the likeliest token"),
		seed:    fs.Uint("seed", 0, "seed for a temperature above 0"),
	}
	fs.Func("q", "ask this one `question` and exit", func(q string) error {
		a.question, a.once = q, true
		return nil
	})
	fs.IntVar(&a.sampling.MaxTokens, "max-tokens", 0, "most new tokens, never counting the prompt; 0 means the enclave's default")
	fs.IntVar(&a.sampling.TopK, "top-k", 0, "sample from the k likeliest tokens; 0 means from all")
	return a
}

// run asks the one question, or prompts for questions until the input ends.
func (a *asking) run(ctx context.Context, c *chat.Client, s streams) error {
	a.sampling.Temperature = float32(*a.temp)
	a.sampling.Seed = uint32(*a.seed)
	if a.once {
		return a.one(ctx, c, a.question, s.out)
	}
	fmt.Fprintln(s.err, "Ask a question, or end with Ctrl-D.")
	lines := readLines(s.in)
	for {
		fmt.Fprint(s.err, "> ")
		select {
		case <-ctx.Done(): // interrupted at the prompt
			fmt.Fprintln(s.err)
			return nil
		case l, ok := <-lines:
			if !ok || l.err != nil {
				fmt.Fprintln(s.err)
				return l.err
			}
			if strings.TrimSpace(l.text) == "" {
				continue
			}
			if err := a.one(ctx, c, l.text, s.out); err != nil && ctx.Err() == nil {
				fmt.Fprintf(s.err, "error: %v\n", err)
			}
		}
	}
}

// line is a line of input, or why there are no more.
type line struct {
	text string
	err  error
}

// readLines reads in a goroutine of its own, since reading from a terminal
// cannot be interrupted. It ends with the input or with the process.
func readLines(r io.Reader) <-chan line {
	lines := make(chan line)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(r)
		for in.Scan() {
			lines <- line{text: in.Text()}
		}
		if err := in.Err(); err != nil {
			lines <- line{err: err}
		}
	}()
	return lines
}

// printable replaces what a terminal would obey in place of showing it: an
// answer may have been forged.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\n' && r != '\t' {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

func (a *asking) one(ctx context.Context, c *chat.Client, question string, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, *a.timeout)
	defer cancel()
	answer, err := c.Ask(ctx, question, a.sampling)
	if err != nil {
		return err
	}
	if *a.json {
		return json.NewEncoder(out).Encode(map[string]any{
			"answer": strings.TrimSpace(answer.Text), "finish_reason": answer.FinishReason,
			"prompt_tokens": answer.PromptTokens, "completion_tokens": answer.CompletionTokens,
		})
	}
	text := printable(strings.TrimSpace(answer.Text))
	if answer.FinishReason == wire.FinishSize {
		text += "\n(the answer was cut here: no more of it fits into one KMS ciphertext)"
	}
	_, err = fmt.Fprintln(out, text)
	return err
}

// credentialsFrom reads a credential_process file, or the environment when
// the name is empty. Errors never repeat the contents.
func credentialsFrom(name string) (aws.CredentialsProvider, error) {
	if name == "" {
		id, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
		if id == "" || secret == "" {
			return nil, errors.New("no credentials: give -credentials FILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
		}
		return credentials.NewStaticCredentialsProvider(id, secret, os.Getenv("AWS_SESSION_TOKEN")), nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return parseCredentials(name, data)
}

// parseCredentials reads the credential_process form, which came from name.
func parseCredentials(name string, data []byte) (aws.CredentialsProvider, error) {
	var c struct {
		Version                                    int
		AccessKeyID, SecretAccessKey, SessionToken string
		Expiration                                 *time.Time
	}
	if json.Unmarshal(data, &c) != nil || c.Version != 1 || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return nil, fmt.Errorf("%s is not of the credential_process form (Version 1, AccessKeyId, SecretAccessKey)", name)
	}
	if c.Expiration != nil && time.Now().After(*c.Expiration) {
		return nil, fmt.Errorf("the credentials in %s expired at %s", name, c.Expiration.Format(time.RFC3339))
	}
	return credentials.NewStaticCredentialsProvider(c.AccessKeyID, c.SecretAccessKey, c.SessionToken), nil
}
