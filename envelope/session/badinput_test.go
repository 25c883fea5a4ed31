package session_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// badTransport answers what a test gives it.
type badTransport struct {
	answer []byte
	err    error
}

func (b badTransport) Attest(context.Context, []byte) ([]byte, error) { return b.answer, b.err }

func (b badTransport) Ask(context.Context, []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(b.answer, b.err) }
}

// responder answers with a response that nobody reads.
type responder struct {
	*session.Enclave
	handle func(*session.Request, *session.Response)
}

func (r responder) Ask(_ context.Context, request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		req, err := r.Open(request)
		if err != nil {
			yield(nil, err)
			return
		}
		resp, err := req.Respond(func([]byte) error { return nil })
		if err != nil {
			yield(nil, err)
			return
		}
		r.handle(req, resp)
	}
}

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/envelope-session.md.
func TestBadInput(t *testing.T) {
	w := newWorld(t, nil)
	kms := newKMSWorld(t)
	badinput.Table{
		Package: "envelope/session",
		Cases:   append(append(badClientCases(w), badEnclaveCases(w)...), badDataCases(t, kms)...),
		NoInput: []string{"Enclave.Format", "RemoteError.Error", "Response.Ended", "Response.Format", "Credentials.Format", "Credentials.LogValue",
			"Data.Format", "Data.LogValue", "KEM.String (any number)", "KeyID.String", "Request.Format", "Request.LogValue", "RequestID.String"},
	}.Run(t)
}

var (
	anError      = badinput.Plain()
	badMessage   = badinput.Is("session.ErrMalformed", session.ErrMalformed)
	tooLargeHere = badinput.Is("session.ErrTooLarge", session.ErrTooLarge)
	badData      = badinput.Is("session.ErrData", session.ErrData)
	badReceipt   = badinput.Is("session.ErrReceipt", session.ErrReceipt)
	endedHere    = badinput.Is("session.ErrEnded", session.ErrEnded)
	contextEnded = badinput.Own("context.Canceled", context.Canceled)
)

func second(_ any, err error) error { return err }

func badClientCases(w *world) []badinput.Case {
	errOwn := errors.New("own")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	client := func(tr session.Transport, enclave attest.Options) *session.Client {
		c, err := session.NewClient(session.ClientOptions{Transport: tr, Enclave: enclave, Clock: w.clock.Now})
		if err != nil {
			w.t.Fatal(err)
		}
		return c
	}
	asked := func(ctx context.Context, c *session.Client, payload session.PayloadFunc) error {
		for _, err := range c.Ask(ctx, payload) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	text := func(n int) session.PayloadFunc { return payload(strings.Repeat("x", n)) }
	establish := func(input string, want badinput.Outcome, tr session.Transport, o attest.Options) badinput.Case {
		return badinput.On("Client.Establish", input, want, func(ctx context.Context) error { return second(client(tr, o).Establish(ctx)) })
	}
	return []badinput.Case{
		badinput.On("NewClient", "zero options", anError, func(context.Context) error { return second(session.NewClient(session.ClientOptions{})) }),
		badinput.On("NewClient", "a MaxAge of -1", anError, func(context.Context) error {
			return second(session.NewClient(session.ClientOptions{Transport: w.direct, MaxAge: -1}))
		}),
		establish("the zero Policy", badinput.Is("attest.ErrPolicy", attest.ErrPolicy), w.direct, attest.Options{Roots: w.trust().Roots}),
		establish("a transport that fails", badinput.Own("the transport's error", errOwn), badTransport{err: errOwn}, w.trust()),
		establish("a transport that answers nothing", badMessage, badTransport{}, w.trust()),
		establish("an answer that is none", badMessage, badTransport{answer: []byte(badinput.Canary)}, w.trust()),
		badinput.On("Client.Establish", "a context that has ended", contextEnded, func(context.Context) error { return second(client(w.direct, w.trust()).Establish(gone)) }),
		badinput.On("Client.Ask", "a nil payload", anError, func(ctx context.Context) error { return asked(ctx, client(w.direct, w.trust()), nil) }),
		badinput.On("Client.Ask", "a payload that fails", badinput.Own("its error", errOwn), func(ctx context.Context) error {
			return asked(ctx, client(w.direct, w.trust()), func(context.Context, *session.Established, session.RequestID) ([]byte, error) { return nil, errOwn })
		}),
		badinput.On("Client.Ask", "a payload over MaxPayload", tooLargeHere, func(ctx context.Context) error {
			return asked(ctx, client(w.direct, w.trust()), text(session.MaxPayload+1))
		}),
		badinput.On("Client.Ask", "a context that has ended", contextEnded, func(context.Context) error { return asked(gone, client(w.direct, w.trust()), text(1)) }),
		badinput.On("AttestationKeyID", "nothing", badMessage, func(context.Context) error { return second(session.AttestationKeyID(nil)) }),
		badinput.On("AttestationKeyID", "text", badMessage, func(context.Context) error { return second(session.AttestationKeyID([]byte(badinput.Canary))) }),
		badinput.On("RequestKeyID", "nothing", badMessage, func(context.Context) error { return second(session.RequestKeyID(nil)) }),
		badinput.On("RequestKeyID", "text", badMessage, func(context.Context) error {
			return second(session.RequestKeyID([]byte(strings.Repeat(badinput.Canary, 100))))
		}),
		badinput.Value("IsLast", "nothing, or text", "false", func() bool { return !session.IsLast(nil, true) && !session.IsLast([]byte{0}, false) }),
		badinput.On("KeyConfig.ID", "the zero KeyConfig", anError, func(context.Context) error { return second(new(session.KeyConfig).ID()) }),
	}
}

func badEnclaveCases(w *world) []badinput.Case {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	enclave := func(input string, want badinput.Outcome, change func(*session.EnclaveOptions)) badinput.Case {
		return badinput.On("NewEnclave", input, want, func(context.Context) error {
			o := session.EnclaveOptions{Attester: w.newNSM(nsmtest.Options{})}
			change(&o)
			return second(session.NewEnclave(o))
		})
	}
	closed := w.newEnclave(nsmtest.Options{}, nil)
	closed.Close()
	responding := func(fn func(req *session.Request, resp *session.Response) error) func(context.Context) error {
		return func(ctx context.Context) error {
			var got error
			d := responder{w.enclave, func(req *session.Request, resp *session.Response) { got = fn(req, resp) }}
			c, err := session.NewClient(session.ClientOptions{Transport: d, Enclave: w.trust(), Clock: w.clock.Now})
			if err != nil {
				return err
			}
			for range c.Ask(ctx, payload(badinput.Canary)) {
			}
			return got
		}
	}
	claims := session.Claims{Request: []byte("q"), Response: []byte("a")}
	receipt, err := w.enclave.Receipt(context.Background(), claims)
	if err != nil {
		w.t.Fatal(err)
	}
	verify := func(input string, want badinput.Outcome, receipt []byte, o attest.Options, c session.Claims) badinput.Case {
		return badinput.On("VerifyReceipt", input, want, func(context.Context) error { return second(session.VerifyReceipt(receipt, o, c)) })
	}
	finished := func(resp *session.Response) { resp.Finish(nil) }
	return []badinput.Case{
		enclave("zero options", anError, func(o *session.EnclaveOptions) { *o = session.EnclaveOptions{} }),
		enclave("an unknown KEM", anError, func(o *session.EnclaveOptions) { o.KEM = 1 }),
		enclave("a RotateAfter of -1", anError, func(o *session.EnclaveOptions) { o.RotateAfter = -1 }),
		enclave("MaxRequests of -1", anError, func(o *session.EnclaveOptions) { o.MaxRequests = -1 }),
		enclave("a Window of -1", anError, func(o *session.EnclaveOptions) { o.Window = -1 }),
		enclave("a Pad of 4,097", anError, func(o *session.EnclaveOptions) { o.Pad = 4097 }),
		enclave("an Info over MaxInfo", tooLargeHere, func(o *session.EnclaveOptions) { o.Info = make([]byte, session.MaxInfo+1) }),
		badinput.On("Enclave.Attest", "nothing", badMessage, func(ctx context.Context) error { return second(w.enclave.Attest(ctx, nil)) }),
		badinput.On("Enclave.Attest", "text", badMessage, func(ctx context.Context) error { return second(w.enclave.Attest(ctx, []byte(badinput.Canary))) }),
		badinput.On("Enclave.Attest", "a closed Enclave", badinput.Is("session.ErrClosed", session.ErrClosed), func(ctx context.Context) error {
			return second(closed.Attest(ctx, append([]byte("NSA1"), make([]byte, session.NonceSize)...)))
		}),
		badinput.On("Enclave.Open", "nothing", badMessage, func(context.Context) error { return second(w.enclave.Open(nil)) }),
		badinput.On("Enclave.Open", "text", badMessage, func(context.Context) error {
			return second(w.enclave.Open([]byte(strings.Repeat(badinput.Canary, 100))))
		}),
		badinput.On("Enclave.Open", "a message over MaxRequest", badMessage, func(context.Context) error { return second(w.enclave.Open(make([]byte, session.MaxRequest+1))) }),
		badinput.On("Enclave.Receipt", "zero Claims", badinput.Ignored("a receipt of empty claims, which proves just that"), func(ctx context.Context) error { return second(w.enclave.Receipt(ctx, session.Claims{})) }),
		badinput.On("Enclave.Receipt", "a context that has ended", badinput.Is("context.Canceled", context.Canceled), func(context.Context) error { return second(w.enclave.Receipt(gone, claims)) }).Vary(),
		badinput.On("Enclave.Receipt", "a closed Enclave", badinput.Ignored("answers that are under way get theirs"), func(ctx context.Context) error { return second(closed.Receipt(ctx, claims)) }),
		badinput.On("Enclave.Close", "a closed Enclave", badinput.Ignored("closing twice is fine"), func(context.Context) error { closed.Close(); return nil }),
		verify("nothing", badReceipt, nil, w.trust(), claims),
		verify("text", badReceipt, []byte(badinput.Canary), w.trust(), claims),
		verify("zero Claims", badReceipt, receipt, w.trust(), session.Claims{}),
		verify("other claims", badReceipt, receipt, w.trust(), session.Claims{Request: []byte(badinput.Canary), Response: []byte("a")}),
		verify("the zero Policy", badinput.Is("attest.ErrPolicy", attest.ErrPolicy), receipt, attest.Options{Roots: w.trust().Roots}, claims),
		badinput.On("Request.Respond", "a nil emit", anError, responding(func(req *session.Request, _ *session.Response) error {
			return second(new(session.Request).Respond(nil))
		})),
		badinput.On("Request.Respond", "a request that has an answer", anError, responding(func(req *session.Request, _ *session.Response) error {
			return second(req.Respond(func([]byte) error { return nil }))
		})),
		badinput.On("Request.MarshalJSON", "any request", anError, func(context.Context) error {
			return second(session.Request{Payload: []byte(badinput.Canary)}.MarshalJSON())
		}),
		badinput.On("Response.Send", "a message over MaxMessage", tooLargeHere, responding(func(_ *session.Request, r *session.Response) error { return r.Send(make([]byte, session.MaxMessage+1)) })),
		badinput.On("Response.Send", "an answer that has ended", endedHere, responding(func(_ *session.Request, r *session.Response) error { finished(r); return r.Send(nil) })),
		badinput.On("Response.Finish", "a message over MaxMessage", tooLargeHere, responding(func(_ *session.Request, r *session.Response) error {
			return r.Finish(make([]byte, session.MaxMessage+1))
		})),
		badinput.On("Response.Finish", "an answer that has ended", endedHere, responding(func(_ *session.Request, r *session.Response) error { finished(r); return r.Finish(nil) })),
		badinput.On("Response.End", "an answer that has ended", endedHere, responding(func(_ *session.Request, r *session.Response) error { finished(r); return r.End() })),
		badinput.On("Response.Fail", "a nil error", anError, responding(func(_ *session.Request, r *session.Response) error { return r.Fail(nil) })),
		badinput.On("Response.Fail", "an answer that has ended", endedHere, responding(func(_ *session.Request, r *session.Response) error {
			finished(r)
			return r.Fail(&session.RemoteError{Code: "x"})
		})),
		badinput.On("Response.Fail", "a code and a text that are not UTF-8, and too long", badinput.Ignored("they are cut, and made UTF-8"), responding(func(_ *session.Request, r *session.Response) error {
			return r.Fail(&session.RemoteError{Code: strings.Repeat("\xff", 100), Message: strings.Repeat("\xff", 2000)})
		})),
	}
}

func badDataCases(t *testing.T, w *kmsWorld) []badinput.Case {
	ec := envelope.EncryptionContext{"direction": "request"}
	sealData := func(input string, want badinput.Outcome, ec envelope.EncryptionContext, document []byte) badinput.Case {
		return badinput.On("SealData", input, want, func(ctx context.Context) error {
			return second(session.SealData(ctx, w.kms(), w.sign, ec, []byte(badinput.Canary), document))
		})
	}
	decode := func(input string, payload []byte) badinput.Case {
		return badinput.On("DecodeData", input, badData, func(context.Context) error { return second(session.DecodeData(payload)) })
	}
	open := func(input string, want badinput.Outcome, o session.DataOpener, d session.Data) badinput.Case {
		return badinput.On("DataOpener.Open", input, want, func(ctx context.Context) error { return second(o.Open(ctx, d, ec)) })
	}
	encode := func(input string, d session.Data) badinput.Case {
		return badinput.On("Data.Encode", input, badData, func(context.Context) error { return second(d.Encode()) })
	}
	both := session.Data{Plain: []byte("x"), Sealed: []byte("y")}
	signed := session.Data{Sealed: []byte("no stream"), Signed: &envelope.SignedRequest{Host: "h", Header: map[string]string{"a": "b"}, Body: []byte("{}")}}
	withKeys := session.Data{Sealed: []byte("x"), Credentials: &session.Credentials{AccessKeyID: "AKID", SecretAccessKey: badinput.Canary}}
	return []badinput.Case{
		sealData("no encryption context", badinput.Is("envelope.ErrNoContext", envelope.ErrNoContext), nil, nil),
		sealData("no document", badinput.Is("attest.ErrMalformed", attest.ErrMalformed), ec, nil),
		decode("nothing", nil),
		decode("text", []byte(badinput.Canary)),
		decode("more than MaxPayload", make([]byte, session.MaxPayload+1)),
		encode("the zero Data", session.Data{}),
		encode("data in two forms", both),
		encode("sealed data without a request or credentials", session.Data{Sealed: []byte("x")}),
		open("the zero Data", badData, session.DataOpener{AllowPlain: true}, session.Data{}),
		open("plain data, without AllowPlain", badData, session.DataOpener{}, session.Data{Plain: []byte(badinput.Canary)}),
		open("data in two forms", badData, session.DataOpener{AllowPlain: true}, both),
		open("sealed data that is no stream", badinput.Is("envelope.ErrStream", envelope.ErrStream), w.opener, signed),
		open("a WithCredentials that returns nothing", anError, session.DataOpener{WithCredentials: func(session.Credentials) (*envelope.Client, error) { return nil, nil }}, withKeys),
		badinput.On("Credentials.MarshalJSON", "any credentials", anError, func(context.Context) error {
			return second(session.Credentials{SecretAccessKey: badinput.Canary}.MarshalJSON())
		}),
		badinput.On("Data.MarshalJSON", "any data", anError, func(context.Context) error { return second(session.Data{Plain: []byte(badinput.Canary)}.MarshalJSON()) }),
	}
}
