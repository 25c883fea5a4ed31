package envelope_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/kmstest"
)

// What no error and no log may show.
const (
	canaryText   = "CANARY-of-a-diagnosis-0af37c"
	canarySecret = "CANARYsecretAccessKey+9c21/4d"
	canaryToken  = "CANARYsessionToken7b20ee"
)

// canaries collects everything that failures show.
type canaries struct {
	t   *testing.T
	out *bytes.Buffer
	log *slog.Logger
	n   int
}

func newCanaries(t *testing.T) *canaries {
	var b bytes.Buffer
	return &canaries{t: t, out: &b, log: slog.New(slog.NewJSONHandler(&b, &slog.HandlerOptions{Level: slog.LevelDebug}))}
}

// failed takes an error, which there must be, in every form in which programs
// print one, with all that it wraps.
func (c *canaries) failed(name string, err error) {
	c.t.Helper()
	if err == nil {
		c.t.Errorf("%s: no error", name)
		return
	}
	c.n++
	c.show(err)
	var walk func(error)
	walk = func(err error) {
		if err == nil {
			return
		}
		c.show(err)
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, inner := range e.Unwrap() {
				walk(inner)
			}
		}
	}
	walk(err)
}

// show prints a value with every verb that takes any, and logs it.
func (c *canaries) show(v any) {
	fmt.Fprintf(c.out, "%v\n%+v\n%#v\n%s\n%q\n%x\n", v, v, v, v, v, v)
	c.log.Info("shown", "value", v, "within", struct{ V any }{v})
	json.NewEncoder(c.out).Encode(v) // may refuse
}

// leaks returns the secrets that were shown, in clear or encoded.
func (c *canaries) leaks(secrets ...[]byte) (found []string) {
	shown := c.out.Bytes()
	upper := bytes.ToUpper(shown)
	for _, s := range secrets {
		forms := [][]byte{s, []byte(hex.EncodeToString(s)), []byte(strings.Trim(fmt.Sprint(s), "[]")), []byte(strings.Trim(fmt.Sprintf("%#v", s), "[]byte{}"))}
		for skip := range 3 { // base64 of it at any place of something longer
			if len(s) > skip+6 {
				whole := s[skip : skip+(len(s)-skip)/3*3]
				forms = append(forms, []byte(base64.StdEncoding.EncodeToString(whole)), []byte(base64.URLEncoding.EncodeToString(whole)))
			}
		}
		for _, f := range forms {
			if bytes.Contains(shown, f) || bytes.Contains(upper, bytes.ToUpper(f)) {
				found = append(found, string(f))
			}
		}
	}
	return found
}

// Every way in which the package fails, with secrets in all places where they
// can be; none of them may turn up in an error or a log.
func TestNoFailureTellsSecrets(t *testing.T) {
	ctx := t.Context()
	c := newCanaries(t)
	d := newDelegation(t)
	srv, err := kmstest.NewServer(kmstest.Options{AttestationRoots: d.sign.Enclave.Roots, Logger: c.log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { srv.Close() })
	const other = "arn:aws:iam::111122223333:role/other"
	for _, p := range []kmstest.Principal{
		{ARN: role, AccessKeyID: "AKID", SecretAccessKey: canarySecret, SessionToken: canaryToken},
		{ARN: other, AccessKeyID: "AKOTHER", SecretAccessKey: canarySecret, SessionToken: canaryToken},
	} {
		if err := srv.AddPrincipal(p); err != nil {
			t.Fatal(err)
		}
	}
	arn, err := srv.CreateKey(kmstest.KeyOptions{Policy: fmt.Sprintf(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":%q},"Action":"kms:*","Resource":"*"}]}`, role)})
	if err != nil {
		t.Fatal(err)
	}
	sdk := func(id, secret, token, url string) *kms.Client {
		return kms.New(kms.Options{Region: srv.Region(), BaseEndpoint: aws.String(url), RetryMaxAttempts: 1, Credentials: credentials.NewStaticCredentialsProvider(id, secret, token)})
	}
	api := sdk("AKID", canarySecret, canaryToken, srv.URL())
	client := func(k envelope.KMSAPI) *envelope.Client {
		return newClient(t, envelope.Options{KMS: k, KeyID: arn, Recipient: d.recipient})
	}
	good := client(api)
	blob, err := good.Encrypt(ctx, []byte(canaryText), request)
	if err != nil {
		t.Fatal(err)
	}
	dataKey, err := good.GenerateDataKey(ctx, request)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := good.GenerateDataKeyPair(ctx, types.DataKeyPairSpecEccNistP256, request)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{
		dataKey, &dataKey, pair, &pair, good, d.recipient, d.courier,
		envelope.Options{KMS: api, KeyID: arn, Recipient: d.recipient},
		envelope.CourierOptions{KeyID: arn, Recipient: d.recipient},
		envelope.SignOptions{KeyID: arn, Credentials: credentials.NewStaticCredentialsProvider("AKID", canarySecret, canaryToken)},
	} {
		c.show(v)
	}

	// Calls that KMS refuses or never gets.
	everyCall := func(name string, cl *envelope.Client, ec envelope.EncryptionContext) {
		_, err := cl.Encrypt(ctx, []byte(canaryText), ec)
		c.failed(name+", Encrypt", err)
		_, err = cl.Decrypt(ctx, blob, ec)
		c.failed(name+", Decrypt", err)
		_, err = cl.DecryptUnattested(ctx, blob, ec)
		c.failed(name+", DecryptUnattested", err)
		_, err = cl.GenerateDataKey(ctx, ec)
		c.failed(name+", GenerateDataKey", err)
		_, err = cl.GenerateDataKeyPair(ctx, types.DataKeyPairSpecEccNistP256, ec)
		c.failed(name+", GenerateDataKeyPair", err)
		_, err = cl.DeriveSharedSecret(ctx, pair.Public)
		c.failed(name+", DeriveSharedSecret", err)
		_, err = cl.Seal(ctx, []byte(canaryText), ec, envelope.StreamOptions{})
		c.failed(name+", Seal", err)
	}
	everyCall("no permission", client(sdk("AKOTHER", canarySecret, canaryToken, srv.URL())), request)
	everyCall("another secret", client(sdk("AKID", canarySecret+"x", canaryToken, srv.URL())), request)
	everyCall("another token", client(sdk("AKID", canarySecret, canaryToken+"x", srv.URL())), request)
	everyCall("nobody's key id", client(sdk("AKNOBODY", canarySecret, canaryToken, srv.URL())), request)
	everyCall("nobody listens", client(sdk("AKID", canarySecret, canaryToken, "http://127.0.0.1:1")), request)
	everyCall("no context", good, nil)
	_, err = good.Decrypt(ctx, blob, envelope.EncryptionContext{"direction": "other"})
	c.failed("another context", err)
	_, err = good.Encrypt(ctx, bytes.Repeat([]byte(canaryText), 1000), request)
	c.failed("too large", err)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = good.Encrypt(cancelled, []byte(canaryText), request)
	c.failed("cancelled", err)

	// Answers that hold secrets where they should not be.
	text := func() []byte { return []byte(canaryText) }
	for name, k := range map[string]*answers{
		"in clear":    {encrypt: &kms.EncryptOutput{}, decrypt: &kms.DecryptOutput{KeyId: &arn, Plaintext: text(), CiphertextForRecipient: text()}, dataKey: &kms.GenerateDataKeyOutput{KeyId: &arn, Plaintext: text()}},
		"another key": {encrypt: &kms.EncryptOutput{KeyId: aws.String(streamARN), CiphertextBlob: text()}, decrypt: &kms.DecryptOutput{KeyId: aws.String(streamARN), Plaintext: text()}, dataKey: &kms.GenerateDataKeyOutput{KeyId: aws.String(streamARN), CiphertextForRecipient: text()}},
		"no CMS":      {encrypt: &kms.EncryptOutput{}, decrypt: &kms.DecryptOutput{KeyId: &arn, CiphertextForRecipient: text()}, dataKey: &kms.GenerateDataKeyOutput{KeyId: &arn, CiphertextForRecipient: text()}},
	} {
		_, err := client(k).Encrypt(ctx, text(), request)
		c.failed(name+", Encrypt", err)
		_, err = client(k).Decrypt(ctx, blob, request)
		c.failed(name+", Decrypt", err)
		_, err = client(k).GenerateDataKey(ctx, request)
		c.failed(name+", GenerateDataKey", err)
	}
	_, err = client(dataKeyFrom{api, blob}).GenerateDataKey(ctx, request)
	c.failed("a data key of another size", err)

	// Delegated calls.
	d.sign.Credentials = credentials.NewStaticCredentialsProvider("AKID", canarySecret, canaryToken)
	d.sign.KeyID, d.sign.Endpoint = arn, srv.URL()
	signed, err := envelope.SignDecrypt(ctx, d.sign, blob, request, d.document(d.recipient))
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c.out, "%v %+v %#v %s\n", signed, signed, *signed, *signed)
	c.log.Info("signed", "request", signed, "value", *signed)
	courier := func(transport http.RoundTripper) *envelope.Courier {
		co, err := envelope.NewCourier(envelope.CourierOptions{HTTP: &http.Client{Transport: transport}, Endpoint: srv.URL(), KeyID: arn, Recipient: d.recipient})
		if err != nil {
			t.Fatal(err)
		}
		return co
	}
	answer := func(status int, body string) roundTrip {
		return func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
	}
	encoded := base64.StdEncoding.EncodeToString(text())
	for name, transport := range map[string]http.RoundTripper{
		"the wire breaks":    roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("broken") }),
		"no JSON":            answer(200, canaryText),
		"half an answer":     answer(200, `{"Plaintext": "`+encoded),
		"plaintext":          answer(200, `{"Plaintext": "`+encoded+`", "KeyId": "`+arn+`"}`),
		"another key":        answer(200, `{"CiphertextForRecipient": "`+encoded+`", "KeyId": "x"}`),
		"no CMS":             answer(200, `{"CiphertextForRecipient": "`+encoded+`", "KeyId": "`+arn+`"}`),
		"an error in clear":  answer(500, canaryText),
		"too much":           answer(200, strings.Repeat(canaryText, 10_000)),
		"a redirect with it": answer(302, canaryText),
	} {
		_, err := courier(transport).Decrypt(ctx, signed, request)
		c.failed("courier, "+name, err)
	}
	_, err = courier(http.DefaultTransport).Decrypt(ctx, signed, envelope.EncryptionContext{"a": "b"})
	c.failed("courier, another context", err)
	_, err = envelope.SignDecrypt(ctx, d.sign, blob, request, text())
	c.failed("signing for no document", err)
	d.sign.Enclave.Policy = attest.Policy{}
	_, err = envelope.SignDecrypt(ctx, d.sign, blob, request, d.document(d.recipient))
	c.failed("signing without a policy", err)

	// Streams.
	opts := envelope.StreamOptions{SegmentSize: 4096, Decrypt: good.DecryptUnattested}
	sealed, err := good.Seal(ctx, bytes.Repeat(text(), 1000), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 5, 40, 400, 5000, len(sealed) - 1} {
		bad := bytes.Clone(sealed)
		bad[at] ^= 1
		_, err := good.Open(ctx, bad, request, opts)
		c.failed(fmt.Sprintf("stream, byte %d", at), err)
		_, err = good.Open(ctx, sealed[:at], request, opts)
		c.failed(fmt.Sprintf("stream, cut at %d", at), err)
	}
	r, err := good.NewReader(ctx, bytes.NewReader(sealed), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Read(make([]byte, 1)) // the rest of a segment waits in the Reader
	c.show(r)
	ra, err := good.NewReaderAt(ctx, bytes.NewReader(sealed), int64(len(sealed)), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	c.show(ra)
	_, err = good.Open(ctx, sealed, envelope.EncryptionContext{"a": "b"}, opts)
	c.failed("stream, another context", err)
	w, err := good.NewWriter(ctx, failingWriter{}, request, opts)
	if err == nil {
		c.show(w)
		_, err = w.Write(bytes.Repeat(text(), 1000))
	}
	c.failed("stream, no room", err)

	// Malformed requests to the local KMS.
	for _, body := range []string{canaryText, `{"Plaintext": "` + encoded + `", "Unknown": 1}`, `{"Plaintext": "` + canaryText + `"}`} {
		resp, err := http.Post(srv.URL(), "application/x-amz-json-1.1", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(c.out, resp.Body)
		resp.Body.Close()
	}

	secrets := [][]byte{text(), []byte(canarySecret), []byte(canaryToken), dataKey.Plaintext, pair.Private[36:68]}
	if found := c.leaks(secrets...); len(found) > 0 {
		i := bytes.Index(c.out.Bytes(), []byte(found[0]))
		t.Errorf("%d failures showed %q: …%s…", c.n, found, c.out.Bytes()[max(0, i-300):min(c.out.Len(), i+100)])
	}
	if c.n < 80 {
		t.Errorf("only %d failures were looked at", c.n)
	}
	// The search itself finds what is there.
	for _, s := range secrets {
		for _, leak := range []any{s, fmt.Sprint(s), base64.StdEncoding.EncodeToString(append([]byte("x"), s...)), errors.New(string(s))} {
			control := newCanaries(t)
			control.show(leak)
			if len(control.leaks(s)) == 0 {
				t.Errorf("%T %v is not found", leak, leak)
			}
		}
	}
	t.Logf("%d failures, %d bytes shown", c.n, c.out.Len())
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

type failingWriter struct{}

func (failingWriter) Write([]byte) (int, error) { return 0, io.ErrShortWrite }
