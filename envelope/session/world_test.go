package session_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// direct is a transport without a parent between, that tests put one into.
type direct struct {
	enclave *session.Enclave
	handler func(*session.Request, *session.Response) error

	mu     sync.Mutex
	opened int // requests that the enclave opened

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
		d.mu.Lock()
		d.opened++
		d.mu.Unlock()
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

// clock is a clock that tests set.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// behind is the clock with an offset.
func (c *clock) behind(d time.Duration) func() time.Time {
	return func() time.Time { return c.Now().Add(-d) }
}

// world is an authority, an enclave under it and the policy that it meets.
type world struct {
	t       testing.TB
	ca      *nsmtest.CA
	clock   *clock // of everybody
	pcrs    attest.PCRs
	enclave *session.Enclave
	*direct
}

// newWorld returns an enclave behind a transport that a test may corrupt.
func newWorld(t testing.TB, edit func(*session.EnclaveOptions)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{now: time.Now()}, pcrs: testPCRs(1)}
	var err error
	if w.ca, err = nsmtest.NewCA(nsmtest.CAOptions{Clock: w.clock.behind(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	w.enclave = w.newEnclave(nsmtest.Options{}, edit)
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

// newNSM starts a module: the world's, where opts do not say.
func (w *world) newNSM(opts nsmtest.Options) *attest.NSM {
	w.t.Helper()
	if opts.CA == nil {
		opts.CA = w.ca
	}
	if opts.PCRs == nil {
		opts.PCRs = w.pcrs
	}
	if opts.Clock == nil {
		opts.Clock = w.clock.Now
	}
	device, err := nsmtest.New(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { nsm.Close() })
	return nsm
}

func (w *world) newEnclave(module nsmtest.Options, edit func(*session.EnclaveOptions)) *session.Enclave {
	w.t.Helper()
	opts := session.EnclaveOptions{Attester: w.newNSM(module), KEM: session.X25519, Info: []byte("model 1"), Clock: w.clock.Now}
	if edit != nil {
		edit(&opts)
	}
	e, err := session.NewEnclave(opts)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Close)
	return e
}

// trust is what the world's enclave meets.
func (w *world) trust() attest.Options {
	return attest.Options{
		Roots:  []*x509.Certificate{w.ca.Root()},
		Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: w.pcrs}}},
		Clock:  w.clock.Now,
	}
}

func (w *world) client(t testing.TB, edit func(*session.ClientOptions)) *session.Client {
	t.Helper()
	opts := session.ClientOptions{Transport: w.direct, Enclave: w.trust(), Clock: w.clock.Now}
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

// epoch is a clock that stands at a Unix time.
func epoch(seconds int64) func() time.Time {
	return func() time.Time { return time.Unix(seconds, 0) }
}
