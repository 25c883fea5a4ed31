package session_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

const otherModule = "i-0123456789abcdef0-enc00000000000000ff"

func TestClientOptions(t *testing.T) {
	w := newWorld(t, nil)
	for name, opts := range map[string]session.ClientOptions{
		"no transport":     {},
		"negative max age": {Transport: w.direct, MaxAge: -1},
	} {
		if c, err := session.NewClient(opts); err == nil || c != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	// The zero policy refuses everything.
	c, err := session.NewClient(session.ClientOptions{Transport: w.direct})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Establish(t.Context()); !errors.Is(err, attest.ErrUntrusted) {
		t.Error(err)
	}
	c = w.client(t, func(o *session.ClientOptions) { o.Enclave.Policy = attest.Policy{} })
	_, err = c.Establish(t.Context())
	refusal{attest.ErrPolicy, "policy"}.check(t, err)
}

func TestEstablishedIsKept(t *testing.T) {
	w := newWorld(t, func(o *session.EnclaveOptions) { o.RotateAfter = 10 * time.Minute })
	count := 0
	w.onAttest = func(request []byte) ([]byte, error) {
		count++
		return w.enclave.Attest(context.Background(), request)
	}
	c := w.client(t, func(o *session.ClientOptions) { o.MaxAge = 2 * time.Minute })
	want := func(n int, when string) {
		t.Helper()
		if _, err := c.Establish(t.Context()); err != nil || count != n {
			t.Errorf("%s: %d attestations, %v; want %d", when, count, err, n)
		}
	}
	want(1, "at first")
	w.clock.add(2*time.Minute - 1)
	want(1, "before MaxAge")
	w.clock.add(1)
	want(2, "at MaxAge")
	w.clock.add(-time.Second)
	want(3, "with the client's clock set back")
	// A key is left a minute before its end, even if MaxAge is longer.
	c = w.client(t, func(o *session.ClientOptions) { o.MaxAge = time.Hour })
	want(4, "another client")
	w.clock.add(17*time.Minute - 1)
	want(4, "over a minute before the key's end")
	w.clock.add(time.Minute)
	want(5, "less than a minute before")
}

func TestEstablishIsShared(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	synctest.Test(t, func(t *testing.T) {
		var count atomic.Int32
		release := make(chan struct{})
		w.onAttest = func(request []byte) ([]byte, error) {
			count.Add(1)
			<-release
			return w.enclave.Attest(context.Background(), request)
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				if e, err := c.Establish(t.Context()); err != nil || e == nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		close(release)
		wg.Wait()
		if n := count.Load(); n != 1 {
			t.Errorf("%d attestations", n)
		}
	})
}

// TestImpatientLeader has the caller who verifies for all give up: the others
// do not fail with it.
func TestImpatientLeader(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	synctest.Test(t, func(t *testing.T) {
		hurry, cancel := context.WithCancel(t.Context())
		var first atomic.Bool
		first.Store(true)
		w.onAttest = func(request []byte) ([]byte, error) {
			if first.Swap(false) {
				<-hurry.Done()
				return nil, errors.New("the transport's own words for it")
			}
			return w.enclave.Attest(context.Background(), request)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.Establish(hurry); err == nil {
				t.Error("the impatient one got an enclave")
			}
		})
		synctest.Wait()
		for range 4 {
			wg.Go(func() {
				if _, err := c.Establish(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		// One of those who wait is impatient as well.
		soon, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		if _, err := c.Establish(soon); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		wg.Wait()
	})
}

func TestTransportPanics(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	w.onAttest = func([]byte) ([]byte, error) { panic("transport") }
	func() {
		defer func() {
			if recover() != "transport" {
				t.Error("the panic was swallowed")
			}
		}()
		c.Establish(t.Context())
	}()
	w.onAttest = nil
	if _, err := c.Establish(t.Context()); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// failing is an answer that fails.
func failing(err error) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) { yield(nil, err) }
}

// TestForgedKeyUnknown has the parent deliver a question, withhold the answer,
// and say that the enclave does not know the key.
func TestForgedKeyUnknown(t *testing.T) {
	for _, test := range []struct {
		name      string
		elsewhere bool // RetryElsewhere
		replaced  bool // the client finds another enclave afterwards
		got       string
		want      error
		delivered int // how many requests the parent was given
		opened    int // by both enclaves
	}{
		{"to the same enclave", false, false, "", session.ErrReplayed, 2, 1},
		{"to another enclave", false, true, "", session.ErrKeyUnknown, 1, 1},
		{"to another enclave, as allowed", true, true, "q!", nil, 2, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			other := w.newEnclave(nsmtest.Options{ModuleID: otherModule}, nil)
			delivered := 0
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
				delivered++
				if delivered > 1 {
					return w.deliver(request)
				}
				for range w.deliver(request) {
				}
				if test.replaced {
					w.direct.enclave = other
				} else {
					w.clock.add(time.Second)
				}
				return failing(fmt.Errorf("relayed: %w", session.ErrKeyUnknown))
			}
			c := w.client(t, func(o *session.ClientOptions) { o.RetryElsewhere = test.elsewhere })
			got, err := ask(t, c, "q")
			if got != test.got || !errors.Is(err, test.want) || delivered != test.delivered || w.opened != test.opened {
				t.Errorf("%q, %v; %d delivered, %d opened", got, err, delivered, w.opened)
			}
			// The next question is another one, to the enclave that is there.
			if got, err := ask(t, c, "next"); err != nil || got != "next!" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestKeyUnknown has the enclave say so honestly.
func TestKeyUnknown(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	if _, err := ask(t, c, "q"); err != nil {
		t.Fatal(err)
	}
	w.direct.enclave = w.newEnclave(nsmtest.Options{}, nil) // the same module: a new process
	if got, err := ask(t, c, "q"); err != nil || got != "q!" {
		t.Errorf("%q, %v", got, err)
	}
	// Once only.
	w.onAsk = func([]byte) iter.Seq2[[]byte, error] { return failing(session.ErrKeyUnknown) }
	if _, err := ask(t, c, "q"); !errors.Is(err, session.ErrKeyUnknown) {
		t.Error(err)
	}
	// Nor after some of an answer has come.
	attempts := 0
	w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
		attempts++
		return func(yield func([]byte, error) bool) {
			for s := range w.deliver(request) {
				yield(s, nil)
				break
			}
			yield(nil, session.ErrKeyUnknown)
		}
	}
	if got, err := ask(t, c, "qr"); got != "q" || !errors.Is(err, session.ErrTruncated) || attempts != 1 {
		t.Errorf("%q, %v, %d attempts", got, err, attempts)
	}
}

// TestRetryIsNotLate has the parent hold up what comes between two attempts: an
// enclave remembers requests for so long only.
func TestRetryIsNotLate(t *testing.T) {
	for _, hold := range []string{"refusal", "attestation", "payload"} {
		for _, late := range []bool{false, true} {
			w := newWorld(t, nil)
			wait := func(where string) {
				if where == hold {
					w.clock.add(30 * time.Second)
					if late {
						w.clock.add(time.Millisecond)
					}
				}
			}
			refused := false
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
				if refused {
					return w.deliver(request)
				}
				refused = true
				wait("refusal")
				return failing(session.ErrKeyUnknown)
			}
			w.onAttest = func(request []byte) ([]byte, error) {
				if refused {
					wait("attestation")
				}
				return w.enclave.Attest(context.Background(), request)
			}
			var err error
			for _, e := range w.client(t, nil).Ask(t.Context(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
				if refused {
					wait("payload")
				}
				return []byte("q"), nil
			}) {
				err = e
			}
			if late != errors.Is(err, session.ErrKeyUnknown) || late != (w.opened == 0) {
				t.Errorf("%s, late: %v: %v, opened %d times", hold, late, err, w.opened)
			}
		}
	}
}

func TestPayload(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	broken := errors.New("KMS is down")
	for _, err := range c.Ask(t.Context(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) { return nil, broken }) {
		if !errors.Is(err, broken) {
			t.Error(err)
		}
	}
	var made []byte
	seen := map[session.RequestID]bool{}
	w.handler = func(req *session.Request, resp *session.Response) error {
		if !seen[req.ID] {
			t.Error("the payload was made for another id")
		}
		return resp.Finish(req.Payload)
	}
	question := c.Ask(t.Context(), func(_ context.Context, e *session.Established, id session.RequestID) ([]byte, error) {
		if e.Document == nil || len(e.Raw) == 0 || seen[id] {
			t.Errorf("%+v, %v", e, id)
		}
		seen[id] = true
		made = []byte("the question")
		return made, nil
	})
	for range 2 { // another request each time
		for message, err := range question {
			if err != nil || string(message) != "the question" {
				t.Errorf("%q, %v", message, err)
			}
		}
	}
	if string(made) != strings.Repeat("\x00", 12) || len(seen) != 2 {
		t.Errorf("the payload is still %q; %d ids", made, len(seen))
	}
}
