package sessionrpc_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// served is an enclave behind vsockrpc, with a client of that.
type served struct {
	t       *testing.T
	enclave *session.Enclave
	nsm     *attest.NSM
	trust   attest.Options
	rpc     *vsockrpc.Client
	server  *vsockrpc.Server
	ended   chan struct{} // one for each question whose handler has returned
}

var names atomic.Int32

func serve(t *testing.T, h sessionrpc.Handler) *served {
	t.Helper()
	ca, err := nsmtest.NewCA(nsmtest.CAOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pcrs := attest.PCRs{}
	for i := range 3 {
		pcrs[i] = attest.ZeroPCR().Extend([]byte{byte(i)})
	}
	device, err := nsmtest.New(nsmtest.Options{CA: ca, PCRs: pcrs})
	if err != nil {
		t.Fatal(err)
	}
	nsm, err := attest.OpenNSM(attest.NSMOptions{Device: device.Device()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nsm.Close() })
	s := &served{t: t, nsm: nsm, ended: make(chan struct{}, 100)}
	s.server = vsockrpc.NewServer(vsockrpc.ServerOptions{OnCall: func(c vsockrpc.CallStats) {
		if c.Method == sessionrpc.MethodAsk {
			s.ended <- struct{}{}
		}
	}})
	s.trust = attest.Options{
		Roots: []*x509.Certificate{ca.Root()}, Policy: attest.Policy{Measurements: []attest.Measurement{{Name: "v1", PCRs: pcrs}}},
	}
	if s.enclave, err = session.NewEnclave(session.EnclaveOptions{Attester: nsm, KEM: session.X25519, MaxRequests: 64}); err != nil {
		t.Fatal(err)
	}
	sessionrpc.Register(s.server, s.enclave, h)
	addr := fmt.Sprintf("mem://sessionrpc-transport-%d", names.Add(1))
	l, err := vsockrpc.Listen(addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.server.Serve(l)
	t.Cleanup(func() { s.server.Close() })
	if s.rpc, err = vsockrpc.NewClient(addr, vsockrpc.ClientOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.rpc.Close() })
	return s
}

// parent is a relay as small as can be, over HTTP. hook, if not nil, may answer
// itself.
func (s *served) parent(hook func(http.ResponseWriter, *http.Request) bool) session.Transport {
	s.t.Helper()
	fail := func(w http.ResponseWriter, err error) {
		e, _ := errors.AsType[*vsockrpc.Error](err)
		w.WriteHeader(http.StatusConflict)
		fmt.Fprintf(w, `{"error":{"code":%q}}`, e.Message)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+sessionrpc.PathAttest, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		answer, err := s.rpc.Call(r.Context(), sessionrpc.MethodAttest, body)
		if err != nil {
			fail(w, err)
			return
		}
		w.Write(answer)
	})
	mux.HandleFunc("POST "+sessionrpc.PathAsk, func(w http.ResponseWriter, r *http.Request) {
		if hook != nil && hook(w, r) {
			return
		}
		body, _ := io.ReadAll(r.Body)
		stream, err := s.rpc.Stream(r.Context(), sessionrpc.MethodAsk)
		if err != nil {
			fail(w, err)
			return
		}
		defer stream.Close()
		stream.SendLast(body)
		for begun := false; ; begun = true {
			segment, err := stream.Recv()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil && !begun {
				fail(w, err)
				return
			}
			if err != nil {
				panic(http.ErrAbortHandler)
			}
			w.Write(binary.BigEndian.AppendUint32(nil, uint32(len(segment))))
			w.Write(segment)
			w.(http.Flusher).Flush()
		}
	})
	srv := httptest.NewServer(mux)
	s.t.Cleanup(srv.Close)
	return s.http(srv.URL)
}

func (s *served) http(url string) session.Transport {
	s.t.Helper()
	transport, err := sessionrpc.NewHTTPTransport(sessionrpc.HTTPOptions{URL: url})
	if err != nil {
		s.t.Fatal(err)
	}
	return transport
}

func (s *served) client(transport session.Transport) *session.Client {
	s.t.Helper()
	c, err := session.NewClient(session.ClientOptions{Transport: transport, Enclave: s.trust})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func ask(ctx context.Context, c *session.Client, question string) (string, error) {
	var all []byte
	for message, err := range c.Ask(ctx, func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
		return []byte(question), nil
	}) {
		if err != nil {
			return string(all), err
		}
		all = append(all, message...)
	}
	return string(all), nil
}

// both runs a test over vsockrpc and over HTTP.
func both(t *testing.T, h sessionrpc.Handler, test func(t *testing.T, s *served, transport session.Transport)) {
	t.Helper()
	t.Run("vsockrpc", func(t *testing.T) {
		s := serve(t, h)
		test(t, s, sessionrpc.NewTransport(s.rpc))
	})
	t.Run("HTTP", func(t *testing.T) {
		s := serve(t, h)
		test(t, s, s.parent(nil))
	})
}

func echo(_ context.Context, req *session.Request, resp *session.Response) error {
	for word := range strings.FieldsSeq(string(req.Payload)) {
		if err := resp.Send([]byte(word + ".")); err != nil {
			return err
		}
	}
	return nil
}

func TestAsk(t *testing.T) {
	both(t, echo, func(t *testing.T, s *served, transport session.Transport) {
		c := s.client(transport)
		for range 3 {
			if got, err := ask(t.Context(), c, "a b c"); err != nil || got != "a.b.c." {
				t.Fatalf("%q, %v", got, err)
			}
		}
		largest := strings.Repeat("x", session.MaxMessage-1)
		if got, err := ask(t.Context(), c, largest+" "+largest); err != nil || got != largest+"."+largest+"." {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
}

// TestRefusals has each refusal of an enclave reach the client as session's own
// error.
func TestRefusals(t *testing.T) {
	both(t, echo, func(t *testing.T, s *served, transport session.Transport) {
		var sealed []byte
		recorder := recording{transport, &sealed}
		if _, err := ask(t.Context(), s.client(recorder), "q"); err != nil {
			t.Fatal(err)
		}
		changed := func(i int) []byte {
			b := bytes.Clone(sealed)
			b[(i+len(b))%len(b)] ^= 0x10
			return b
		}
		for _, test := range []struct {
			request []byte
			want    error
		}{
			{[]byte("what?"), session.ErrMalformed},
			{nil, session.ErrMalformed},
			{sealed, session.ErrReplayed},
			{changed(4), session.ErrKeyUnknown},
			{changed(12), session.ErrOpen}, // as another request
		} {
			n := 0
			for segment, err := range transport.Ask(t.Context(), test.request) {
				if n++; segment != nil || !errors.Is(err, test.want) || !strings.HasPrefix(err.Error(), "session: ") {
					t.Errorf("%v; want %v", err, test.want)
				}
			}
			if n != 1 {
				t.Errorf("yields %d times", n)
			}
		}
		if _, err := transport.Attest(t.Context(), nil); !errors.Is(err, session.ErrMalformed) {
			t.Errorf("attest: %v", err)
		}
		s.nsm.Close()
		if _, err := ask(t.Context(), s.client(transport), "q"); !errors.Is(err, session.ErrAttester) || !strings.HasPrefix(err.Error(), "session: ") {
			t.Errorf("no security module: %v", err)
		}
		s.enclave.Close()
		if _, err := ask(t.Context(), s.client(transport), "q"); !errors.Is(err, session.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// recording keeps the last request.
type recording struct {
	session.Transport
	last *[]byte
}

func (r recording) Ask(ctx context.Context, request []byte) iter.Seq2[[]byte, error] {
	*r.last = bytes.Clone(request)
	return r.Transport.Ask(ctx, request)
}

// TestHandlerErrors has handlers fail: the client gets a sealed code, and what
// is not meant for it stays inside.
func TestHandlerErrors(t *testing.T) {
	const canary = "CANARY of an inner error"
	var payload []byte
	h := func(_ context.Context, req *session.Request, resp *session.Response) error {
		payload = req.Payload
		switch string(req.Payload) {
		case "panic":
			panic(canary)
		case "panic later":
			resp.Send([]byte("part"))
			panic(canary)
		case "error":
			return errors.New(canary)
		case "remote":
			return fmt.Errorf("wrapped: %w", &session.RemoteError{Code: "too_long", Message: "the question is too long"})
		case "after the end":
			resp.Finish([]byte("all"))
			return errors.New(canary)
		case "panic after the end":
			resp.Finish([]byte("all"))
			panic(canary)
		}
		return nil
	}
	both(t, h, func(t *testing.T, s *served, transport session.Transport) {
		c := s.client(transport)
		for question, want := range map[string]struct{ got, code string }{
			"panic":               {"", "internal"},
			"panic later":         {"part", "internal"},
			"error":               {"", "internal"},
			"remote":              {"", "too_long"},
			"after the end":       {"all", ""},
			"panic after the end": {"all", ""},
			"nothing":             {"", ""},
		} {
			got, err := ask(t.Context(), c, question)
			remote, _ := errors.AsType[*session.RemoteError](err)
			if got != want.got || (err == nil) != (want.code == "") || err != nil && (remote == nil || remote.Code != want.code || strings.Contains(err.Error(), canary)) {
				t.Errorf("%s: %q, %v", question, got, err)
			}
			<-s.ended
			if !bytes.Equal(payload, make([]byte, len(payload))) {
				t.Errorf("%s: the payload is not erased", question)
			}
		}
	})
}

// TestCut has the connection end in the middle of an answer.
func TestCut(t *testing.T) {
	proceed := make(chan struct{})
	h := func(ctx context.Context, _ *session.Request, resp *session.Response) error {
		resp.Send([]byte("part"))
		<-proceed
		<-ctx.Done()
		return ctx.Err()
	}
	both(t, h, func(t *testing.T, s *served, transport session.Transport) {
		var got []byte
		var last error
		for message, err := range s.client(transport).Ask(t.Context(), func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
			return []byte("q"), nil
		}) {
			if got, last = append(got, message...), err; err == nil {
				s.server.Close()
				proceed <- struct{}{}
			}
		}
		if string(got) != "part" || !errors.Is(last, session.ErrTruncated) {
			t.Errorf("%q, %v", got, last)
		}
	})
}

// TestCancel has a client leave, and a deadline pass: the handler is told.
func TestCancel(t *testing.T) {
	told := make(chan error, 1)
	h := func(ctx context.Context, _ *session.Request, resp *session.Response) error {
		resp.Send([]byte("part"))
		<-ctx.Done()
		told <- ctx.Err()
		return ctx.Err()
	}
	both(t, h, func(t *testing.T, s *served, transport session.Transport) {
		c := s.client(transport)
		question := func(context.Context, *session.Established, session.RequestID) ([]byte, error) {
			return []byte("q"), nil
		}
		for _, err := range c.Ask(t.Context(), question) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		<-told
		ctx, cancel := context.WithCancel(t.Context())
		for _, err := range c.Ask(ctx, question) {
			if cancel(); err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
		<-told
		ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var last error
		for _, err := range c.Ask(ctx, question) {
			last = err
		}
		// Whose clock was first?
		if remote, ok := errors.AsType[*session.RemoteError](last); !errors.Is(last, context.DeadlineExceeded) && (!ok || remote.Code != "deadline_exceeded") {
			t.Error(last)
		}
		<-told
	})
}
