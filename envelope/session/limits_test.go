package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

func TestEnclaveOptions(t *testing.T) {
	w := newWorld(t, nil)
	nsm := w.newNSM(nsmtest.Options{})
	for name, opts := range map[string]session.EnclaveOptions{
		"no attester":         {},
		"an unknown KEM":      {Attester: nsm, KEM: 0x11},
		"rotation by seconds": {Attester: nsm, RotateAfter: 59e9},
		"negative requests":   {Attester: nsm, MaxRequests: -1},
		"a negative window":   {Attester: nsm, Window: -1},
		"too much padding":    {Attester: nsm, Pad: 4097},
		"info over its limit": {Attester: nsm, Info: make([]byte, session.MaxInfo+1)},
		"a clock before 1970": {Attester: nsm, Clock: epoch(-7200)},
		"a clock after 9999":  {Attester: nsm, Clock: epoch(253402300800)},
	} {
		if e, err := session.NewEnclave(opts); err == nil || e != nil {
			t.Errorf("%s: accepted", name)
		}
	}
	info := make([]byte, session.MaxInfo)
	e, err := session.NewEnclave(session.EnclaveOptions{Attester: nsm, Info: info})
	if err != nil {
		t.Fatal(err)
	}
	info[0] = 1 // the enclave has its own
	config, _ := splitAnswer(mustAttest(t, e, append([]byte("NSA1"), make([]byte, session.NonceSize)...)))
	if !bytes.HasSuffix(config, make([]byte, session.MaxInfo)) {
		t.Error("info changes with the caller's slice")
	}
	for _, request := range [][]byte{nil, []byte("NSA1"), append([]byte("NSA2"), make([]byte, session.NonceSize)...)} {
		if _, err := e.Attest(t.Context(), request); !errors.Is(err, session.ErrMalformed) {
			t.Errorf("%x: %v", request, err)
		}
	}
	e.Close()
	e.Close()
	if _, err := e.Attest(t.Context(), append([]byte("NSA1"), make([]byte, session.NonceSize)...)); !errors.Is(err, session.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestCloseDuringAnswer closes the enclave while it answers.
func TestCloseDuringAnswer(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(_ *session.Request, resp *session.Response) error {
		w.enclave.Close()
		resp.Send([]byte("a"))
		return resp.End()
	}
	c := w.client(t, nil)
	if got, err := ask(t, c, "q"); got != "a" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := ask(t, c, "q"); !errors.Is(err, session.ErrClosed) {
		t.Error(err)
	}
}

// TestRequestSizes has requests of many lengths: those of one bucket look alike.
func TestRequestSizes(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(req *session.Request, resp *session.Response) error {
		return resp.Finish(fmt.Append(nil, len(req.Payload)))
	}
	sent := 0
	w.onAsk = func(request []byte) iter.Seq2[[]byte, error] { sent = len(request); return w.deliver(request) }
	size := func(c *session.Client, n int) int {
		t.Helper()
		if got, err := ask(t, c, strings.Repeat("x", n)); err != nil || got != fmt.Sprint(n) {
			t.Fatalf("%d bytes: %q, %v", n, got, err)
		}
		return sent
	}
	padding := w.client(t, nil)
	// Bucket ends, less the 4 bytes of the length.
	for _, bucket := range [][2]int{{0, 1020}, {1021, 1084}, {1085, 1148}, {4093, 4348}, {1 << 20, 1<<20 + 1<<15 - 4}} {
		first, last, after := size(padding, bucket[0]), size(padding, bucket[1]), size(padding, bucket[1]+1)
		if first != last || after <= last {
			t.Errorf("%v: %d and %d bytes, %d with one more", bucket, first, last, after)
		}
	}
	if n := size(padding, session.MaxPayload); n > session.MaxRequest || n < session.MaxPayload {
		t.Errorf("%d bytes", n)
	}
	plain := w.client(t, func(o *session.ClientOptions) { o.NoPadding = true })
	if a, b := size(plain, 10), size(plain, 11); b != a+1 {
		t.Errorf("without padding: %d and %d bytes", a, b)
	}
	for _, c := range []*session.Client{padding, plain} {
		sent = 0
		for _, err := range c.Ask(t.Context(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
			return make([]byte, session.MaxPayload+1), nil
		}) {
			if !errors.Is(err, session.ErrTooLarge) || sent != 0 {
				t.Errorf("%v, %d bytes were sent", err, sent)
			}
		}
	}
}

// TestSegmentSizes streams messages of all lengths: below 100 bytes or so none
// shows its own.
func TestSegmentSizes(t *testing.T) {
	for _, test := range []struct{ pad, upTo int }{{0, 123}, {256, 251}, {-1, 0}} {
		w := newWorld(t, func(o *session.EnclaveOptions) { o.Pad = test.pad })
		w.handler = func(_ *session.Request, resp *session.Response) error {
			resp.Send(nil) // the first carries the answer's header
			for n := range 130 {
				if err := resp.Send(make([]byte, n)); err != nil {
					return err
				}
			}
			return resp.End()
		}
		sizes := map[int]int{}
		w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
			segments := segmentsOf(t, w.deliver(request))
			for n, s := range segments[1 : len(segments)-1] {
				if n <= test.upTo {
					sizes[len(s)]++
				} else if test.pad < 0 && len(s) != n+26 {
					t.Errorf("not padded: %d bytes for %d", len(s), n)
				}
			}
			if test.pad >= 0 && sizes[len(segments[len(segments)-1])] == 0 {
				t.Error("the end has a size of its own")
			}
			return yielding(segments...)
		}
		if _, err := ask(t, w.client(t, nil), "q"); err != nil {
			t.Fatal(err)
		}
		if len(sizes) != 1 {
			t.Errorf("pad %d: sizes %v", test.pad, sizes)
		}
	}
}

func TestMessageLimits(t *testing.T) {
	w := newWorld(t, func(o *session.EnclaveOptions) { o.Pad = 4096 })
	largest := strings.Repeat("m", session.MaxMessage)
	w.handler = func(_ *session.Request, resp *session.Response) error {
		if err := resp.Send(make([]byte, session.MaxMessage+1)); !errors.Is(err, session.ErrTooLarge) || resp.Ended() {
			t.Errorf("too large: %v", err)
		}
		if err := resp.Send([]byte(largest)); err != nil {
			return err
		}
		if err := resp.Finish([]byte(largest)); err != nil || !resp.Ended() {
			return err
		}
		for _, err := range []error{resp.Send(nil), resp.Finish(nil), resp.End(), resp.Fail(&session.RemoteError{})} {
			if !errors.Is(err, session.ErrEnded) {
				t.Errorf("after the end: %v", err)
			}
		}
		return nil
	}
	w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
		segments := segmentsOf(t, w.deliver(request))
		for _, s := range segments {
			if len(s) > session.MaxSegment {
				t.Errorf("a segment of %d bytes", len(s))
			}
		}
		return yielding(segments...)
	}
	if got, err := ask(t, w.client(t, nil), "q"); err != nil || got != largest+largest {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

func TestRespondOnce(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(req *session.Request, resp *session.Response) error {
		if again, err := req.Respond(func([]byte) error { return nil }); err == nil || again != nil {
			t.Error("a second answer to one request")
		}
		return resp.End()
	}
	if _, err := ask(t, w.client(t, nil), "q"); err != nil {
		t.Error(err)
	}
}

// TestConcurrentMessages sends from many goroutines: each message comes whole,
// and the answer is one.
func TestConcurrentMessages(t *testing.T) {
	w := newWorld(t, nil)
	w.handler = func(_ *session.Request, resp *session.Response) error {
		var wg sync.WaitGroup
		for i := range 32 {
			wg.Go(func() {
				if err := resp.Send([]byte{byte(i)}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		return resp.End()
	}
	// The transport of these tests yields from whoever sends.
	w.onAsk = func(request []byte) iter.Seq2[[]byte, error] { return yielding(segmentsOf(t, w.deliver(request))...) }
	seen := map[byte]bool{}
	for message, err := range w.client(t, nil).Ask(t.Context(), payload("q")) {
		if err != nil || len(message) != 1 || seen[message[0]] {
			t.Fatalf("%x, %v", message, err)
		}
		seen[message[0]] = true
	}
	if len(seen) != 32 {
		t.Errorf("%d messages", len(seen))
	}
}

func TestRemoteErrorLimits(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(t, nil)
	for name, test := range map[string]struct{ sent, want session.RemoteError }{
		"at the limits":     {session.RemoteError{Code: strings.Repeat("c", 64), Message: strings.Repeat("m", 1024)}, session.RemoteError{Code: strings.Repeat("c", 64), Message: strings.Repeat("m", 1024)}},
		"over them":         {session.RemoteError{Code: strings.Repeat("c", 65), Message: strings.Repeat("m", 9999)}, session.RemoteError{Code: strings.Repeat("c", 64), Message: strings.Repeat("m", 1024)}},
		"cut within a rune": {session.RemoteError{Code: "x", Message: strings.Repeat("m", 1023) + "é"}, session.RemoteError{Code: "x", Message: strings.Repeat("m", 1023)}},
		"not UTF-8":         {session.RemoteError{Code: "x", Message: "\xff"}, session.RemoteError{Code: "x"}},
		"without a message": {session.RemoteError{Code: "x"}, session.RemoteError{Code: "x"}},
	} {
		w.handler = func(_ *session.Request, resp *session.Response) error { return resp.Fail(&test.sent) }
		got, err := ask(t, c, "q")
		remote, ok := errors.AsType[*session.RemoteError](err)
		if got != "" || !ok || *remote != test.want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if text := err.Error(); !strings.HasPrefix(text, "session: the enclave answered "+test.want.Code) || !strings.HasSuffix(text, test.want.Message) {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// TestNothingShows prints everything there is with every verb.
func TestNothingShows(t *testing.T) {
	const canary = "CANARY-of-a-diagnosis"
	var out bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&out, nil))
	show := func(v any) {
		fmt.Fprintf(&out, "%v %+v %#v %s %q %x %d\n", v, v, v, v, v, v, v)
		log.Info("shown", "value", v, "within", struct{ V any }{v})
	}
	w := newWorld(t, nil)
	w.handler = func(req *session.Request, resp *session.Response) error {
		show(req)
		show(*req)
		show(w.enclave)
		show(resp)
		return resp.Finish([]byte(canary))
	}
	c := w.client(t, nil)
	for _, tamper := range []func([][]byte) [][]byte{
		func(s [][]byte) [][]byte { return nil },
		func(s [][]byte) [][]byte { return [][]byte{s[0][1:]} },
		func(s [][]byte) [][]byte { return [][]byte{flipped(s[0], -1)} },
	} {
		w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
			return yielding(tamper(segmentsOf(t, w.deliver(request)))...)
		}
		_, err := ask(t, c, canary)
		if err == nil {
			t.Error("no error")
		}
		show(err)
	}
	d := session.Data{Sealed: []byte(canary), Credentials: &session.Credentials{AccessKeyID: canary, SecretAccessKey: canary, SessionToken: canary}}
	show(d)
	show(&d)
	show(d.Credentials)
	show(*d.Credentials)
	_, err := session.DecodeData([]byte(canary))
	show(err)
	if out.Len() < 1000 {
		t.Fatal("nothing was shown")
	}
	for _, form := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%d", []byte(canary[:6]))} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(strings.Trim(form, "[]"))) {
			t.Errorf("shows %s", form)
		}
	}
	if strings.Contains(out.String(), "Q0FOQVJZ") {
		t.Error("shows it in base64")
	}
}
