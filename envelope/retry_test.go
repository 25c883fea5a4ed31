package envelope_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// Calls to KMS are retried by the SDK's own retryer. Each of them can safely be
// made again: none changes anything at KMS. What follows checks that this
// holds with a Recipient too, and that nothing else is tried twice.

// faulty is a way to KMS on which the first calls fail.
type faulty struct {
	fail  []func(*http.Request) (*http.Response, error)
	calls int
}

func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	f.calls++
	if f.calls <= len(f.fail) {
		return f.fail[f.calls-1](r)
	}
	return http.DefaultTransport.RoundTrip(r)
}

func reply(status int, code string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		body := fmt.Sprintf(`{"__type":%q,"message":"x"}`, code)
		return &http.Response{
			StatusCode: status, Request: r, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/x-amz-json-1.1"}, "X-Amzn-Errortype": {code}},
			Body:   io.NopCloser(strings.NewReader(body)),
		}, nil
	}
}

func reset(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }

// through sends a stock client's requests through a transport, with three
// attempts and no pause between them.
func through(api *kms.Client, t http.RoundTripper, edit ...func(*kms.Options)) *kms.Client {
	opts := api.Options()
	opts.HTTPClient = &http.Client{Transport: t}
	opts.RetryMaxAttempts = 0
	opts.Retryer = retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 3
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
	return kms.New(opts, edit...)
}

func TestRetries(t *testing.T) {
	api, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	plain := newClient(t, envelope.Options{KMS: api, KeyID: arn, Recipient: r})
	blob, err := plain.Encrypt(t.Context(), []byte("question"), request)
	if err != nil {
		t.Fatal(err)
	}
	type way = func(*http.Request) (*http.Response, error)
	for _, test := range []struct {
		name  string
		fail  []way
		calls int
		ok    bool
	}{
		{"nothing fails", nil, 1, true},
		{"internal error", []way{reply(500, "KMSInternalException")}, 2, true},
		{"throttled, then unavailable", []way{reply(400, "ThrottlingException"), reply(503, "DependencyTimeoutException")}, 3, true},
		{"connection reset", []way{reset, reset}, 3, true},
		{"too often", []way{reset, reset, reset}, 3, false},
		{"denied", []way{reply(400, "AccessDeniedException")}, 1, false},
		{"invalid ciphertext", []way{reply(400, "InvalidCiphertextException")}, 1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			for what, do := range map[string]func(*envelope.Client) error{
				"Decrypt": func(c *envelope.Client) error {
					got, err := c.Decrypt(t.Context(), blob, request)
					if err == nil && string(got) != "question" {
						return fmt.Errorf("got %q", got)
					}
					return err
				},
				"GenerateDataKey": func(c *envelope.Client) error {
					_, err := c.GenerateDataKey(t.Context(), request)
					return err
				},
			} {
				front := &faulty{fail: test.fail}
				err := do(newClient(t, envelope.Options{KMS: through(api, front), KeyID: arn, Recipient: r}))
				if (err == nil) != test.ok || front.calls != test.calls {
					t.Errorf("%s: %d calls, %v", what, front.calls, err)
				}
			}
		})
	}
}

// TestUnsafeAnswerIsNotRetried: an answer that does not open is an attack or a
// fault, and asking again would only give an attacker more tries.
func TestUnsafeAnswerIsNotRetried(t *testing.T) {
	api, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	front := &faulty{fail: []func(*http.Request) (*http.Response, error){func(r *http.Request) (*http.Response, error) {
		resp, _ := reply(200, "")(r)
		resp.Header.Del("X-Amzn-Errortype")
		resp.Body = io.NopCloser(strings.NewReader(fmt.Sprintf(`{"KeyId":%q,"CiphertextForRecipient":"MIAG","EncryptionAlgorithm":"SYMMETRIC_DEFAULT"}`, arn)))
		return resp, nil
	}}}
	c := newClient(t, envelope.Options{KMS: through(api, front), KeyID: arn, Recipient: r})
	if _, err := c.Decrypt(t.Context(), []byte("x"), request); !errors.Is(err, envelope.ErrOpen) || front.calls != 1 {
		t.Errorf("%d calls, %v", front.calls, err)
	}
}

// TestDeadline: a KMS that does not answer holds a call no longer than its
// context.
func TestDeadline(t *testing.T) {
	api, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx, cancel := context.WithCancelCause(t.Context())
	hang := &faulty{fail: []func(*http.Request) (*http.Response, error){func(r *http.Request) (*http.Response, error) {
		cancel(context.DeadlineExceeded)
		<-r.Context().Done()
		return nil, r.Context().Err()
	}}}
	c := newClient(t, envelope.Options{KMS: through(api, hang), KeyID: arn, Recipient: r})
	if _, err := c.Decrypt(ctx, []byte("x"), request); !errors.Is(err, context.Canceled) || hang.calls != 1 {
		t.Errorf("%d calls, %v", hang.calls, err)
	}
}

// TestRefreshingCredentials: credentials that ran out are asked for anew, from
// whatever provider the stock client has.
func TestRefreshingCredentials(t *testing.T) {
	srv, err := kmstest.NewServer(kmstest.Options{DefaultPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}`})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	arn, err := srv.CreateKey(kmstest.KeyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var given atomic.Int32
	provider := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		id := fmt.Sprintf("AK%d", given.Add(1))
		p := kmstest.Principal{ARN: role, AccessKeyID: id, SecretAccessKey: "secret " + id, SessionToken: "token " + id}
		if err := srv.AddPrincipal(p); err != nil {
			return aws.Credentials{}, err
		}
		return aws.Credentials{AccessKeyID: id, SecretAccessKey: p.SecretAccessKey, SessionToken: p.SessionToken, CanExpire: true, Expires: time.Now().Add(-time.Second)}, nil
	})
	c := newClient(t, envelope.Options{KeyID: arn, KMS: kms.New(kms.Options{
		Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: aws.NewCredentialsCache(provider), RetryMaxAttempts: 1,
	})})
	for range 3 {
		if _, err := c.Encrypt(t.Context(), []byte("x"), request); err != nil {
			t.Fatal(err)
		}
	}
	if n := given.Load(); n != 3 {
		t.Errorf("asked %d times for credentials that always expire", n)
	}
}

// TestClockSkew: the SDK finds the difference to KMS's clock in the first
// refusal and signs with KMS's time from then on.
func TestClockSkew(t *testing.T) {
	for _, skew := range []time.Duration{time.Hour, -time.Hour} {
		srv, err := kmstest.NewServer(kmstest.Options{
			Clock:         func() time.Time { return time.Now().Add(skew) },
			DefaultPolicy: `{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":"*","Action":"kms:*","Resource":"*"}}`,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		if err := srv.AddPrincipal(kmstest.Principal{ARN: role, AccessKeyID: "AKID", SecretAccessKey: "secret"}); err != nil {
			t.Fatal(err)
		}
		arn, err := srv.CreateKey(kmstest.KeyOptions{})
		if err != nil {
			t.Fatal(err)
		}
		front := &faulty{}
		api := through(kms.New(kms.Options{
			Region: srv.Region(), BaseEndpoint: aws.String(srv.URL()), Credentials: credentials.NewStaticCredentialsProvider("AKID", "secret", ""),
		}), front)
		c := newClient(t, envelope.Options{KMS: api, KeyID: arn})
		for want := 2; want < 4; want++ {
			if _, err := c.Encrypt(t.Context(), []byte("x"), request); err != nil || front.calls != want {
				t.Errorf("clock off by %v: %d calls, %v", skew, front.calls, err)
			}
		}
	}
}
