package envelope_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

var (
	on           = badinput.On
	plainError   = badinput.Plain()
	empty        = badinput.Is("envelope.ErrEmpty", envelope.ErrEmpty)
	tooLarge     = badinput.Is("envelope.ErrTooLarge", envelope.ErrTooLarge)
	noContext    = badinput.Is("envelope.ErrNoContext", envelope.ErrNoContext)
	noRecipient  = badinput.Is("envelope.ErrNoRecipient", envelope.ErrNoRecipient)
	notDelegated = badinput.Is("envelope.ErrNotDelegated", envelope.ErrNotDelegated)
	cannotOpen   = badinput.Is("envelope.ErrOpen", envelope.ErrOpen)
	otherContext = badinput.Is("envelope.ErrContextMismatch", envelope.ErrContextMismatch)
	badStream    = badinput.Both(badinput.As[*envelope.StreamError](), badinput.Is("envelope.ErrStream", envelope.ErrStream))
	closedFile   = badinput.Is("fs.ErrClosed", fs.ErrClosed)
	endedCall    = badinput.Both(badinput.As[*envelope.KMSError](), badinput.Is("context.Canceled", context.Canceled))
	errOwn       = errors.New("own " + badinput.Canary[:3])
)

func only(_ any, err error) error { return err }

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/envelope.md.
func TestBadInput(t *testing.T) {
	d := newDelegation(t)
	api := kms.New(kms.Options{Region: d.srv.Region(), BaseEndpoint: aws.String(d.srv.URL()), Credentials: d.sign.Credentials})
	attested := newClient(t, envelope.Options{KMS: api, KeyID: d.sign.KeyID, Recipient: d.recipient})
	outside := newClient(t, envelope.Options{KMS: api, KeyID: d.sign.KeyID})
	badinput.Table{
		Package: "envelope",
		Cases: append(append(append(constructorCases(api, d), clientCases(attested, outside)...),
			delegateCases(d)...), streamCases(t)...),
		NoInput: []string{"Client.Format", "Courier.Format", "KMSError.Error", "KMSError.Unwrap", "Reader.Format", "ReaderAt.Format",
			"ReaderAt.Size", "Recipient.Format", "StreamError.Error", "StreamError.Unwrap", "Writer.Format", "CourierOptions.Format",
			"DataKey.Format", "DataKey.LogValue", "KeyPair.Format", "KeyPair.LogValue", "Options.Format", "SignOptions.Format",
			"SignedRequest.Format", "SignedRequest.LogValue"},
	}.Run(t)
}

func constructorCases(api *kms.Client, d *delegation) []badinput.Case {
	client := func(input string, opts envelope.Options) badinput.Case {
		return on("NewClient", input, plainError, func(context.Context) error { return only(envelope.NewClient(opts)) })
	}
	courier := func(input string, want badinput.Outcome, change func(*envelope.CourierOptions)) badinput.Case {
		return on("NewCourier", input, want, func(context.Context) error {
			opts := envelope.CourierOptions{HTTP: http.DefaultClient, Endpoint: d.srv.URL(), KeyID: d.sign.KeyID, Recipient: d.recipient}
			change(&opts)
			return only(envelope.NewCourier(opts))
		})
	}
	recipient := func(input string, want badinput.Outcome, opts envelope.RecipientOptions) badinput.Case {
		return on("NewRecipient", input, want, func(ctx context.Context) error { return only(envelope.NewRecipient(ctx, opts)) })
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	return []badinput.Case{
		client("zero options", envelope.Options{}),
		client("no key", envelope.Options{KMS: api}),
		client("a key id that is no ARN", envelope.Options{KMS: api, KeyID: "1234abcd"}),
		client("an alias, which may be pointed elsewhere", envelope.Options{KMS: api, KeyID: "arn:aws:kms:us-east-1:111122223333:alias/a"}),
		client("an ARN with a newline", envelope.Options{KMS: api, KeyID: streamARN + "\n" + badinput.Canary}),
		courier("zero options", plainError, func(o *envelope.CourierOptions) { *o = envelope.CourierOptions{} }),
		courier("a nil HTTP client", plainError, func(o *envelope.CourierOptions) { o.HTTP = nil }),
		courier("no Recipient", noRecipient, func(o *envelope.CourierOptions) { o.Recipient = nil }),
		courier("an endpoint without a scheme", plainError, func(o *envelope.CourierOptions) { o.Endpoint = "kms.example" }),
		courier("an endpoint with a password", plainError, func(o *envelope.CourierOptions) { o.Endpoint = "https://u:" + badinput.Canary + "@kms.example" }),
		recipient("zero options", plainError, envelope.RecipientOptions{}),
		recipient("keys of 1024 bits", plainError, envelope.RecipientOptions{Attester: answer(nil), KeyBits: 1024}),
		recipient("keys of -1 bits", plainError, envelope.RecipientOptions{Attester: answer(nil), KeyBits: -1}),
		recipient("an attester that returns nothing", plainError, envelope.RecipientOptions{Attester: answer(nil)}),
		recipient("an attester that fails", badinput.Is("the attester's error", errOwn), envelope.RecipientOptions{Attester: answer(errOwn)}),
		recipient("entropy that fails", badinput.Is("the reader's error", errOwn), envelope.RecipientOptions{Attester: answer(nil), Entropy: iotest.ErrReader(errOwn)}),
		recipient("entropy that ends", badinput.Is("io.ErrUnexpectedEOF", io.ErrUnexpectedEOF), envelope.RecipientOptions{Attester: answer(nil), Entropy: strings.NewReader("short")}),
		on("NewRecipient", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error {
			return only(envelope.NewRecipient(gone, envelope.RecipientOptions{Attester: attesterFunc(func() ([]byte, error) { return nil, gone.Err() })}))
		}),
		on("Recipient.Attest", "a nonce of 513 bytes", badinput.Is("attest.CodeInputTooLarge", attest.CodeInputTooLarge), func(ctx context.Context) error {
			return only(d.recipient.Attest(ctx, make([]byte, 513), nil))
		}),
		on("Recipient.Attest", "user data of 513 bytes", badinput.Is("attest.CodeInputTooLarge", attest.CodeInputTooLarge), func(ctx context.Context) error {
			return only(d.recipient.Attest(ctx, nil, make([]byte, 513)))
		}),
		on("Recipient.Attest", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error {
			return only(d.recipient.Attest(gone, nil, nil))
		}),
		on("Recipient.Document", "a context that has ended", badinput.Ignored("the document at hand, which costs nothing"), func(context.Context) error {
			return only(d.recipient.Document(gone))
		}),
		on("UnwrapCMS", "a nil key", cannotOpen, func(context.Context) error { return only(envelope.UnwrapCMS(nil, nil, envelope.UnwrapOptions{})) }),
	}
}

func clientCases(attested, outside *envelope.Client) []badinput.Case {
	ec := delegateContext
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	var cases []badinput.Case
	for _, op := range []struct {
		name string
		most int // 0: takes no data
		call func(ctx context.Context, c *envelope.Client, data []byte, ec envelope.EncryptionContext) error
	}{
		{"Client.Encrypt", envelope.MaxPlaintext, func(ctx context.Context, c *envelope.Client, data []byte, ec envelope.EncryptionContext) error {
			return only(c.Encrypt(ctx, data, ec))
		}},
		{"Client.Decrypt", 6144, func(ctx context.Context, c *envelope.Client, data []byte, ec envelope.EncryptionContext) error {
			return only(c.Decrypt(ctx, data, ec))
		}},
		{"Client.DecryptUnattested", 6144, func(ctx context.Context, c *envelope.Client, data []byte, ec envelope.EncryptionContext) error {
			return only(c.DecryptUnattested(ctx, data, ec))
		}},
		{"Client.GenerateDataKey", 0, func(ctx context.Context, c *envelope.Client, _ []byte, ec envelope.EncryptionContext) error {
			return only(c.GenerateDataKey(ctx, ec))
		}},
		{"Client.GenerateDataKeyPair", 0, func(ctx context.Context, c *envelope.Client, _ []byte, ec envelope.EncryptionContext) error {
			return only(c.GenerateDataKeyPair(ctx, "ECC_NIST_P256", ec))
		}},
	} {
		good := []byte("x")
		if op.most > 0 {
			cases = append(cases,
				on(op.name, "nothing", empty, func(ctx context.Context) error { return op.call(ctx, attested, nil, ec) }),
				on(op.name, "a byte more than KMS takes", tooLarge, func(ctx context.Context) error { return op.call(ctx, attested, make([]byte, op.most+1), ec) }))
		}
		cases = append(cases,
			on(op.name, "no encryption context", noContext, func(ctx context.Context) error { return op.call(ctx, attested, good, nil) }),
			on(op.name, "a context that has ended", endedCall, func(context.Context) error { return op.call(gone, attested, good, ec) }).Vary())
		if op.name != "Client.Encrypt" && op.name != "Client.DecryptUnattested" {
			cases = append(cases, on(op.name, "a Client without Recipient", noRecipient, func(ctx context.Context) error { return op.call(ctx, outside, good, ec) }))
		}
	}
	kmsError := badinput.As[*envelope.KMSError]()
	return append(cases,
		on("Client.Decrypt", "what is no ciphertext", kmsError, func(ctx context.Context) error { return only(attested.Decrypt(ctx, []byte(badinput.Canary), ec)) }).Vary(),
		on("Client.DecryptUnattested", "what the key policy does not allow", kmsError, func(ctx context.Context) error {
			sealed, err := outside.Encrypt(ctx, []byte(badinput.Canary), ec)
			if err != nil {
				return err
			}
			return only(outside.DecryptUnattested(ctx, sealed, ec))
		}).Vary(),
		on("Client.GenerateDataKeyPair", "an unknown spec", kmsError, func(ctx context.Context) error { return only(attested.GenerateDataKeyPair(ctx, "NONE", ec)) }).Vary(),
		on("Client.DeriveSharedSecret", "nothing", empty, func(ctx context.Context) error { return only(attested.DeriveSharedSecret(ctx, nil)) }),
		on("Client.DeriveSharedSecret", "a byte more than is taken", tooLarge, func(ctx context.Context) error { return only(attested.DeriveSharedSecret(ctx, make([]byte, 6145))) }),
		on("Client.DeriveSharedSecret", "what is no public key", kmsError, func(ctx context.Context) error {
			return only(attested.DeriveSharedSecret(ctx, []byte(badinput.Canary)))
		}).Vary(),
		on("Client.DeriveSharedSecret", "a Client without Recipient", noRecipient, func(ctx context.Context) error { return only(outside.DeriveSharedSecret(ctx, []byte("x"))) }),
		on("Client.GenerateRandom", "-1 bytes", empty, func(ctx context.Context) error { return only(attested.GenerateRandom(ctx, -1)) }),
		on("Client.GenerateRandom", "0 bytes", empty, func(ctx context.Context) error { return only(attested.GenerateRandom(ctx, 0)) }),
		on("Client.GenerateRandom", "1,025 bytes", tooLarge, func(ctx context.Context) error { return only(attested.GenerateRandom(ctx, 1025)) }),
		on("Client.GenerateRandom", "a Client without Recipient", noRecipient, func(ctx context.Context) error { return only(outside.GenerateRandom(ctx, 1)) }),
		on("Client.GenerateRandom", "a context that has ended", endedCall, func(context.Context) error { return only(attested.GenerateRandom(gone, 1)) }).Vary(),
		on("DataKey.MarshalJSON", "any key", plainError, func(context.Context) error {
			return only(envelope.DataKey{Plaintext: []byte(badinput.Canary)}.MarshalJSON())
		}),
		on("KeyPair.MarshalJSON", "any key", plainError, func(context.Context) error {
			return only(envelope.KeyPair{Private: []byte(badinput.Canary)}.MarshalJSON())
		}),
	)
}

func delegateCases(d *delegation) []badinput.Case {
	ctx := context.Background()
	doc, ec := d.document(d.recipient), delegateContext
	sealed := d.seal([]byte("data"))
	forOpen := d.signOpen(sealed)
	req := d.signed("question")
	gone, cancel := context.WithCancel(ctx)
	cancel()
	var cases []badinput.Case
	for _, op := range []struct {
		name string
		sign func(envelope.SignOptions, envelope.EncryptionContext, []byte) error
	}{
		{"SignDecrypt", func(o envelope.SignOptions, ec envelope.EncryptionContext, doc []byte) error {
			return only(envelope.SignDecrypt(ctx, o, []byte("x"), ec, doc))
		}},
		{"SignGenerateDataKey", func(o envelope.SignOptions, ec envelope.EncryptionContext, doc []byte) error {
			return only(envelope.SignGenerateDataKey(ctx, o, ec, doc))
		}},
	} {
		name, sign := op.name, op.sign
		with := func(input string, want badinput.Outcome, change func(*envelope.SignOptions)) badinput.Case {
			return on(name, input, want, func(context.Context) error {
				o := d.sign
				change(&o)
				return sign(o, ec, doc)
			})
		}
		cases = append(cases,
			with("zero options", plainError, func(o *envelope.SignOptions) { *o = envelope.SignOptions{} }),
			with("a key id that is no ARN", plainError, func(o *envelope.SignOptions) { o.KeyID = "key" }),
			with("the zero Policy", badinput.Is("attest.ErrPolicy", attest.ErrPolicy), func(o *envelope.SignOptions) { o.Enclave.Policy = attest.Policy{} }),
			with("an endpoint with a path", plainError, func(o *envelope.SignOptions) { o.Endpoint = "https://kms.example/x" }),
			with("credentials that are empty", plainError, func(o *envelope.SignOptions) { o.Credentials = credentials.NewStaticCredentialsProvider("", "", "") }).Vary(),
			on(name, "no encryption context", noContext, func(context.Context) error { return sign(d.sign, nil, doc) }),
			on(name, "no document", badinput.Is("attest.ErrMalformed", attest.ErrMalformed), func(context.Context) error { return sign(d.sign, ec, nil) }))
	}
	courier := func(name, input string, want badinput.Outcome, call func(ctx context.Context) error) {
		cases = append(cases, on(name, input, want, call))
	}
	courier("SignDecrypt", "no ciphertext", empty, func(context.Context) error { return only(envelope.SignDecrypt(ctx, d.sign, nil, ec, doc)) })
	courier("SignDecrypt", "a ciphertext over 6,144 bytes", tooLarge, func(context.Context) error {
		return only(envelope.SignDecrypt(ctx, d.sign, make([]byte, 6145), ec, doc))
	})
	courier("SignOpen", "nothing", badStream, func(context.Context) error { return only(envelope.SignOpen(ctx, d.sign, nil, ec, doc)) })
	courier("SignOpen", "no encryption context", otherContext, func(context.Context) error { return only(envelope.SignOpen(ctx, d.sign, sealed, nil, doc)) })
	courier("SignOpen", "no document", badinput.Is("attest.ErrMalformed", attest.ErrMalformed), func(context.Context) error { return only(envelope.SignOpen(ctx, d.sign, sealed, ec, nil)) })
	courier("SignOpen", "a stream of another key", badinput.Is("envelope.ErrKeyMismatch", envelope.ErrKeyMismatch), func(context.Context) error {
		o := d.sign
		o.KeyID = streamARN
		return only(envelope.SignOpen(ctx, o, sealed, ec, doc))
	})
	for _, op := range []struct {
		name string
		call func(context.Context, *envelope.SignedRequest, envelope.EncryptionContext) error
		good *envelope.SignedRequest
	}{
		{"Courier.Decrypt", func(ctx context.Context, r *envelope.SignedRequest, ec envelope.EncryptionContext) error {
			return only(d.courier.Decrypt(ctx, r, ec))
		}, req},
		{"Courier.GenerateDataKey", func(ctx context.Context, r *envelope.SignedRequest, ec envelope.EncryptionContext) error {
			return only(d.courier.GenerateDataKey(ctx, r, ec))
		}, nil},
		{"Courier.Open", func(ctx context.Context, r *envelope.SignedRequest, ec envelope.EncryptionContext) error {
			return only(d.courier.Open(ctx, r, sealed, ec))
		}, forOpen},
	} {
		want := noContext
		if op.name == "Courier.Open" {
			want = otherContext
		}
		courier(op.name, "a nil request", notDelegated, func(ctx context.Context) error { return op.call(ctx, nil, ec) })
		courier(op.name, "a zero request", notDelegated, func(ctx context.Context) error { return op.call(ctx, &envelope.SignedRequest{}, ec) })
		courier(op.name, "no encryption context", want, func(ctx context.Context) error { return op.call(ctx, req, nil) })
		if op.good == nil {
			courier(op.name, "a request of SignDecrypt", notDelegated, func(ctx context.Context) error { return op.call(ctx, req, ec) })
			continue
		}
		long := clone(op.good)
		long.Body = make([]byte, 1<<20)
		courier(op.name, "a body of 1 MiB", notDelegated, func(ctx context.Context) error { return op.call(ctx, long, ec) })
		inject := clone(op.good)
		inject.Header["X-Amz-Date"] = "now\r\nX-Evil: " + badinput.Canary
		cases = append(cases, on(op.name, "a header with a newline", badinput.As[*envelope.KMSError](), func(ctx context.Context) error { return op.call(ctx, inject, ec) }).Vary(),
			on(op.name, "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error { return op.call(gone, op.good, ec) }).Vary())
	}
	courier("Courier.Open", "nothing", badStream, func(ctx context.Context) error { return only(d.courier.Open(ctx, forOpen, nil, ec)) })
	courier("Courier.Open", "a stream cut short", badStream, func(ctx context.Context) error { return only(d.courier.Open(ctx, forOpen, sealed[:len(sealed)-1], ec)) })
	courier("Courier.Open", "a request for another ciphertext", notDelegated, func(ctx context.Context) error { return only(d.courier.Open(ctx, req, sealed, ec)) })
	return cases
}

func streamCases(t *testing.T) []badinput.Case {
	c, opts := streams(t)
	ctx := context.Background()
	sealed, err := c.Seal(ctx, make([]byte, 10_000), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(sealed))
	reader := func() *envelope.Reader {
		r, err := c.NewReader(ctx, bytes.NewReader(sealed), request, opts)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	readerAt, err := c.NewReaderAt(ctx, bytes.NewReader(sealed), size, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	shut, err := c.NewReaderAt(ctx, bytes.NewReader(sealed), size, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	shut.Close()
	writer := func(w io.Writer) *envelope.Writer {
		s, err := c.NewWriter(ctx, w, request, opts)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	own := badinput.Is("the reader's error", errOwn)
	full := badinput.Is("the writer's error", errOwn)
	odd := opts
	odd.SegmentSize = -1
	failsToUnwrap, shortKey := opts, opts
	failsToUnwrap.Decrypt = func(context.Context, []byte, envelope.EncryptionContext) ([]byte, error) { return nil, errOwn }
	shortKey.Decrypt = func(context.Context, []byte, envelope.EncryptionContext) ([]byte, error) { return []byte("short"), nil }
	many := envelope.EncryptionContext{"a": strings.Repeat("x", 33<<10)}
	half := func() io.Reader { return io.MultiReader(bytes.NewReader(sealed[:20]), iotest.ErrReader(errOwn)) }
	return []badinput.Case{
		on("Client.Seal", "no encryption context", noContext, func(ctx context.Context) error { return only(c.Seal(ctx, nil, nil, opts)) }),
		on("Client.Seal", "an encryption context over 32 KiB", tooLarge, func(ctx context.Context) error { return only(c.Seal(ctx, nil, many, opts)) }),
		on("Client.Seal", "segments of -1 bytes", plainError, func(ctx context.Context) error { return only(c.Seal(ctx, nil, request, odd)) }),
		on("Client.Open", "nothing", badStream, func(ctx context.Context) error { return only(c.Open(ctx, nil, request, opts)) }),
		on("Client.Open", "text", badStream, func(ctx context.Context) error {
			return only(c.Open(ctx, []byte(strings.Repeat(badinput.Canary, 9)), request, opts))
		}),
		on("Client.Open", "a stream cut short", badStream, func(ctx context.Context) error { return only(c.Open(ctx, sealed[:size-1], request, opts)) }),
		on("Client.Open", "no encryption context", noContext, func(ctx context.Context) error { return only(c.Open(ctx, sealed, nil, opts)) }),
		on("Client.Open", "another encryption context", otherContext, func(ctx context.Context) error {
			return only(c.Open(ctx, sealed, envelope.EncryptionContext{"a": badinput.Canary}, opts))
		}),
		on("Client.Open", "no Decrypt, and a Client without Recipient", noRecipient, func(ctx context.Context) error {
			return only(c.Open(ctx, sealed, request, envelope.StreamOptions{}))
		}),
		on("Client.Open", "a Decrypt that fails", badinput.Own("its error", errOwn), func(ctx context.Context) error { return only(c.Open(ctx, sealed, request, failsToUnwrap)) }),
		on("Client.Open", "a Decrypt that gives five bytes", badStream, func(ctx context.Context) error { return only(c.Open(ctx, sealed, request, shortKey)) }),
		on("Client.NewWriter", "a nil writer", plainError, func(ctx context.Context) error { return only(c.NewWriter(ctx, nil, request, opts)) }),
		on("Client.NewWriter", "a writer that fails", full, func(ctx context.Context) error { return only(c.NewWriter(ctx, &failing{0, errOwn}, request, opts)) }),
		on("Client.NewWriter", "an encryption context that is not UTF-8", badStream, func(ctx context.Context) error {
			return only(c.NewWriter(ctx, io.Discard, envelope.EncryptionContext{"a": "\xff"}, opts))
		}),
		on("Client.NewReader", "a nil reader", plainError, func(ctx context.Context) error { return only(c.NewReader(ctx, nil, request, opts)) }),
		on("Client.NewReader", "a reader that fails half way", own, func(ctx context.Context) error { return only(c.NewReader(ctx, half(), request, opts)) }),
		on("Client.NewReaderAt", "a nil reader", plainError, func(ctx context.Context) error { return only(c.NewReaderAt(ctx, nil, size, request, opts)) }),
		on("Client.NewReaderAt", "a size of -1", badStream, func(ctx context.Context) error {
			return only(c.NewReaderAt(ctx, bytes.NewReader(sealed), -1, request, opts))
		}),
		on("Client.NewReaderAt", "a size beyond the end", badStream, func(ctx context.Context) error {
			return only(c.NewReaderAt(ctx, bytes.NewReader(sealed), size+1<<40, request, opts))
		}),
		on("ReadStreamHeader", "a nil reader", plainError, func(context.Context) error { return only(envelope.ReadStreamHeader(nil)) }),
		on("ReadStreamHeader", "text", badStream, func(context.Context) error {
			return only(envelope.ReadStreamHeader(strings.NewReader(strings.Repeat(badinput.Canary, 9))))
		}),
		on("ReadStreamHeader", "a header of 4 GiB", badStream, func(context.Context) error {
			return only(envelope.ReadStreamHeader(strings.NewReader("nsealed\n\xff\xff\xff\xff")))
		}),
		on("ReadStreamHeader", "a reader that fails half way", own, func(context.Context) error { return only(envelope.ReadStreamHeader(half())) }),
		on("Writer.Write", "a closed Writer", closedFile, func(context.Context) error {
			w := writer(io.Discard)
			w.Close()
			return only(w.Write([]byte("x")))
		}),
		on("Writer.Write", "a writer that fails half way", full, func(context.Context) error { return only(writer(&failing{400, errOwn}).Write(make([]byte, 1<<20))) }),
		on("Writer.Close", "a writer that fails half way", full, func(context.Context) error {
			w := writer(&failing{400, errOwn})
			w.Write(make([]byte, 5000))
			return w.Close()
		}),
		on("Writer.Close", "a closed Writer", closedFile, func(context.Context) error {
			w := writer(io.Discard)
			w.Close()
			return w.Close()
		}),
		on("Writer.Abort", "a closed Writer", badinput.Ignored("aborting what has ended is fine"), func(context.Context) error {
			w := writer(io.Discard)
			w.Close()
			w.Abort()
			return nil
		}),
		on("Reader.Read", "a closed Reader", closedFile, func(context.Context) error {
			r := reader()
			r.Close()
			return only(r.Read(make([]byte, 1)))
		}),
		on("Reader.WriteTo", "a writer that fails", badinput.Own("the writer's error", errOwn), func(context.Context) error {
			return only(reader().WriteTo(&failing{100, errOwn}))
		}),
		on("Reader.WriteTo", "a closed Reader", closedFile, func(context.Context) error {
			r := reader()
			r.Close()
			return only(r.WriteTo(io.Discard))
		}),
		on("Reader.Close", "a closed Reader", badinput.Ignored("closing twice is fine"), func(context.Context) error {
			r := reader()
			r.Close()
			return r.Close()
		}),
		on("ReaderAt.ReadAt", "a negative offset", plainError, func(context.Context) error { return only(readerAt.ReadAt(make([]byte, 1), -1)) }),
		on("ReaderAt.ReadAt", "an offset past the end", badinput.Own("io.EOF", io.EOF), func(context.Context) error {
			return only(readerAt.ReadAt(make([]byte, 1), 1<<62))
		}),
		on("ReaderAt.ReadAt", "a closed ReaderAt", closedFile, func(context.Context) error { return only(shut.ReadAt(make([]byte, 1), 0)) }),
		on("ReaderAt.Close", "a closed ReaderAt", badinput.Ignored("closing twice is fine"), func(context.Context) error { return shut.Close() }),
	}
}

// attesterFunc is an attester.
type attesterFunc func() ([]byte, error)

func (f attesterFunc) Attest(context.Context, attest.Request) ([]byte, error) { return f() }

// answer is an attester that answers nothing.
func answer(err error) attest.Attester {
	return attesterFunc(func() ([]byte, error) { return nil, err })
}
