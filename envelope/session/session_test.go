package session_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"crypto/x509"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// direct is a transport without a parent between, that tests put one into.
type direct struct {
	enclave *session.Enclave
	handler func(*session.Request, *session.Response) error

	// What a hostile parent does. nil leaves everything as it is.
	onAttest func(request []byte) ([]byte, error)
	onAsk    func(request []byte) iter.Seq2[[]byte, error]
}

func (d *direct) Attest(ctx context.Context, request []byte) ([]byte, error) {
	if d.onAttest != nil {
		return d.onAttest(request)
	}
	return d.enclave.Attest(ctx, request)
}

func (d *direct) Ask(_ context.Context, request []byte) iter.Seq2[[]byte, error] {
	if d.onAsk != nil {
		return d.onAsk(request)
	}
	return d.deliver(request)
}

// deliver hands a request to the enclave and yields the segments of its answer.
func (d *direct) deliver(request []byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		req, err := d.enclave.Open(request)
		if err != nil {
			yield(nil, err)
			return
		}
		stopped := errors.New("the client left")
		resp, err := req.Respond(func(segment []byte) error {
			if !yield(bytes.Clone(segment), nil) {
				return stopped
			}
			return nil
		})
		if err != nil {
			yield(nil, err)
			return
		}
		if err := d.handler(req, resp); err != nil && !errors.Is(err, stopped) {
			yield(nil, err)
		}
	}
}

// echo answers with each byte of the payload as a message of its own, and an
// exclamation mark.
func echo(req *session.Request, resp *session.Response) error {
	for _, b := range req.Payload {
		if err := resp.Send([]byte{b}); err != nil {
			return err
		}
	}
	return resp.Finish([]byte("!"))
}

// world is an authority, an enclave under it and the policy that it meets.
type world struct {
	ca      *nsmtest.CA
	pcrs    attest.PCRs
	enclave *session.Enclave
	*direct
}

// newWorld returns an enclave behind a transport that a test may corrupt.
func newWorld(t testing.TB, edit func(*session.EnclaveOptions)) *world {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{ca: ca, pcrs: testPCRs(1)}
	w.enclave = w.newEnclave(t, w.pcrs, "", edit)
	w.direct = &direct{enclave: w.enclave, handler: echo}
	return w
}

func testPCRs(seed byte) attest.PCRs {
	pcrs := attest.PCRs{}
	for i := range 3 {
		pcrs[i] = attest.ZeroPCR().Extend([]byte{seed, byte(i)})
	}
	return pcrs
}

func (w *world) newEnclave(t testing.TB, pcrs attest.PCRs, module string, edit func(*session.EnclaveOptions)) *session.Enclave {
	t.Helper()
	device, err := nsmtest.New(nsmtest.Options{CA: w.ca, PCRs: pcrs, ModuleID: module})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nsm.Close() })
	opts := session.EnclaveOptions{Attester: nsm, KEM: session.X25519, Info: []byte("model 1")}
	if edit != nil {
		edit(&opts)
	}
	e, err := session.NewEnclave(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// trust is what the world's enclave meets.
func (w *world) trust() attest.Options {
	return attest.Options{
		Roots:  []*x509.Certificate{w.ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: w.pcrs}}},
	}
}

func (w *world) client(t testing.TB, edit func(*session.ClientOptions)) *session.Client {
	t.Helper()
	opts := session.ClientOptions{Transport: w.direct, Enclave: w.trust()}
	if edit != nil {
		edit(&opts)
	}
	c, err := session.NewClient(opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func payload(s string) session.PayloadFunc {
	return func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		return []byte(s), nil
	}
}

// ask returns the whole answer, and what came before an error with it.
func ask(t testing.TB, c *session.Client, question string) (string, error) {
	t.Helper()
	var all []byte
	for message, err := range c.Ask(t.Context(), payload(question)) {
		if err != nil {
			return string(all), err
		}
		all = append(all, message...)
	}
	return string(all), nil
}

func TestRoundTrip(t *testing.T) {
	for _, kem := range []session.KEM{session.X25519, session.MLKEM768X25519} {
		t.Run(kem.String(), func(t *testing.T) {
			w := newWorld(t, func(o *session.EnclaveOptions) { o.KEM = kem })
			c := w.client(t, nil)
			for _, q := range []string{"hello", "", "again"} {
				if got, err := ask(t, c, q); err != nil || got != q+"!" {
					t.Errorf("%q: %q, %v", q, got, err)
				}
			}
			e, err := c.Establish(t.Context())
			if err != nil || string(e.Config.Info) != "model 1" || e.Config.KEM != kem {
				t.Errorf("%+v, %v", e, err)
			}
			if id, err := e.Config.ID(); err != nil || id != e.KeyID {
				t.Errorf("key id %v, %v; want %v", id, err, e.KeyID)
			}
		})
	}
}

func TestRemoteError(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(_ *session.Request, resp *session.Response) error {
		resp.Send([]byte("part"))
		return resp.Fail(&session.RemoteError{Code: "too_long", Message: "the question is too long"})
	}
	got, err := ask(t, w.client(t, nil), "q")
	remote, ok := errors.AsType[*session.RemoteError](err)
	if got != "part" || !ok || remote.Code != "too_long" || remote.Message != "the question is too long" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReceipt(t *testing.T) {
	w := newWorld(t, nil)
	claims := session.Claims{Request: []byte("q"), Response: []byte("a"), Model: []byte("m")}
	receipt, err := w.enclave.Receipt(t.Context(), claims)
	if err != nil {
		t.Fatal(err)
	}
	r, err := session.VerifyReceipt(receipt, w.trust(), claims)
	if err != nil || r.Time.After(time.Now()) {
		t.Fatalf("%+v, %v", r, err)
	}
}
