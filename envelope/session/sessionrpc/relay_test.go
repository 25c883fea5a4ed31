package sessionrpc

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Segments arrive one by one, as they are sent, long after the server's
// ReadTimeout, whatever bytes they have.
func TestRelayStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{Timeout: time.Hour}, "a")
		next := make(chan []byte)
		w.enclave("a", func(_ context.Context, req []byte, send func([]byte) error) error {
			if string(req) != pinKey("a")+"question" {
				t.Errorf("%q", req)
			}
			for b := range next {
				if err := send(b); err != nil {
					return err
				}
			}
			return nil
		})
		key := w.attest()
		if s := w.last(); !s.Attest || s.Code != "ok" || s.BytesIn != 5 || s.BytesOut != 13 || s.Segments != 0 {
			t.Errorf("%+v", s)
		}
		go func() { next <- []byte("first") }()
		resp := w.post(t.Context(), PathAsk, key+"question")
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != contentTypeSegments || resp.Header.Get("Cache-Control") != "no-store" {
			t.Fatalf("HTTP %d, %v", resp.StatusCode, resp.Header)
		}
		sent := []string{"first", "", "\x00\xff", strings.Repeat("x", session.MaxSegment), "last"}
		for i, want := range sent {
			if i > 0 {
				time.Sleep(10 * time.Minute)
				next <- []byte(want)
			}
			got, err := readSegment(resp.Body, nil)
			if err != nil || string(got) != want {
				t.Fatalf("segment %d: %d bytes, %v", i, len(got), err)
			}
		}
		close(next)
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("%d bytes more, %v", len(rest), err)
		}
		synctest.Wait()
		if s := w.last(); s.Attest || s.Code != "ok" || s.Status != 200 || s.Segments != 5 || s.BytesIn != 16 || s.BytesOut != int64(session.MaxSegment+5*4+11) || s.Took != 40*time.Minute || s.First != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// What an enclave says is passed on if it is a known word, and nothing else is.
func TestRelayRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{}, "a")
		var says error
		w.enclave("a", func(context.Context, []byte, func([]byte) error) error { return says })
		key := w.attest()
		for _, tt := range []struct {
			err  error
			want word
		}{
			{refuse(session.ErrKeyUnknown), wordKeyUnknown},
			{refuse(session.ErrReplayed), "replayed"},
			{refuse(session.ErrStale), "stale_request"},
			{refuse(session.ErrOpen), "not_opened"},
			{refuse(session.ErrBusy), wordOverloaded},
			{refuse(session.ErrMalformed), wordBadRequest},
			{refuse(session.ErrClosed), wordNotReached},
			{refuse(session.ErrAttester), "nsm_unavailable"},
			{errors.New("canary"), wordInternal},
			{&vsockrpc.Error{Code: vsockrpc.Internal, Message: "canary"}, wordInternal},
			{&vsockrpc.Error{Code: vsockrpc.InvalidArgument, Message: "replayed canary"}, wordInternal},
			{&vsockrpc.Error{Code: vsockrpc.ResourceExhausted, Message: "canary"}, wordOverloaded},
			{&vsockrpc.Error{Code: vsockrpc.DeadlineExceeded, Message: "canary"}, wordDeadline},
			{&vsockrpc.Error{Code: vsockrpc.Unavailable, Message: "canary"}, wordNotReached},
			{nil, wordInternal}, // an answer without segments
		} {
			says = tt.err
			w.refused(w.post(t.Context(), PathAsk, key), tt.want)
			if s := w.last(); s.Code != string(tt.want) || s.Status != words[tt.want].status || s.Segments != 0 || s.First != 0 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// Each word of an enclave has a status and a text here.
func TestRelayKnowsAllRefusals(t *testing.T) {
	for _, r := range refusals {
		if info := words[word(r.word)]; info.status < 400 || info.text == "" {
			t.Errorf("%s: %+v", r.word, info)
		}
		if got := wordFor(&vsockrpc.Error{Code: vsockrpc.Internal, Message: r.word}); got != word(r.word) {
			t.Errorf("%s is told as %s", r.word, got)
		}
	}
}

// What is wrong with a request is found before an enclave is asked.
func TestRelayRefusesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{MaxRequest: 100}, "a")
		asked := 0
		w.enclave("a", func(_ context.Context, _ []byte, send func([]byte) error) error {
			asked++
			return send(nil)
		})
		key := w.attest()
		unknown := pinKey("none")
		long := strings.Repeat("x", 100-len(key))
		for _, tt := range []struct {
			path, body string
			header     []string
			want       word
		}{
			{PathAsk, key[:7], nil, wordBadRequest},
			{PathAsk, "", nil, wordBadRequest},
			{PathAsk, unknown, nil, wordKeyUnknown},
			{PathAsk, key + long + "x", nil, wordTooLarge},
			{PathAttest, strings.Repeat("x", maxAttestRequest+1), nil, wordTooLarge},
			{PathAsk, key, []string{"Content-Type", "application/json"}, wordBadRequest},
			{PathAsk, key, []string{"Content-Type", ""}, wordBadRequest},
			{PathAsk, key, []string{headerTimeout, "0"}, wordBadRequest},
			{PathAsk, key, []string{headerTimeout, "-1"}, wordBadRequest},
			{PathAsk, key, []string{headerTimeout, "soon"}, wordBadRequest},
		} {
			w.refused(w.post(t.Context(), tt.path, tt.body, tt.header...), tt.want)
		}
		// Without a length, the body is counted as it comes.
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://parent"+PathAsk, io.MultiReader(strings.NewReader(key+long), strings.NewReader("x")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", contentTypeRequest)
		resp, err := w.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		w.refused(resp, wordTooLarge)
		if resp, err = w.http.Get("http://parent" + PathAsk); err != nil {
			t.Fatal(err)
		}
		w.refused(resp, wordMethod)
		if resp, err = w.http.Get("http://parent/v1/session/other"); err != nil || resp.StatusCode != http.StatusNotFound {
			t.Errorf("%v", err)
		}
		resp.Body.Close()
		if asked != 0 {
			t.Errorf("%d requests reached the enclave", asked)
		}
		resp = w.post(t.Context(), PathAsk, key+long, headerTimeout, "18446744073709551") // more than there is
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || asked != 1 {
			t.Errorf("the largest request: HTTP %d", resp.StatusCode)
		}
	})
}

// An attestation that is not one, or is too large, is not passed on.
func TestRelayAttestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{}, "a")
		w.enclave("a", nil)
		w.relay.answerKey = func([]byte) (session.KeyID, error) { return session.KeyID{}, session.ErrMalformed }
		w.refused(w.post(t.Context(), PathAttest, "nonce"), wordInternal)
		big := vsockrpc.NewServer(vsockrpc.ServerOptions{})
		big.Handle(MethodAttest, func(context.Context, []byte) ([]byte, error) { return make([]byte, session.MaxAttestAnswer+1), nil })
		l, err := w.net.Listen("big")
		if err != nil {
			t.Fatal(err)
		}
		go big.Serve(l)
		defer big.Close()
		if err := w.relay.opts.Pool.Replace(t.Context(), "mem://a", "mem://big"); err != nil {
			t.Fatal(err)
		}
		w.relay.answerKey = firstBytes
		w.refused(w.post(t.Context(), PathAttest, "nonce"), wordInternal)
	})
}

// A deadline is the relay's, or the client's if that is earlier; before the
// first segment it is an answer, afterwards the connection is cut.
func TestRelayDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{Timeout: time.Minute}, "a")
		ended := make(chan error, 1)
		first := false
		w.enclave("a", func(ctx context.Context, _ []byte, send func([]byte) error) error {
			if first {
				send([]byte("x"))
			}
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		})
		key := w.attest()
		for _, asked := range []time.Duration{0, 2 * time.Second, time.Hour} {
			began := time.Now()
			var header []string
			want := time.Minute
			if asked > 0 {
				header = []string{headerTimeout, strconv.FormatInt(asked.Milliseconds(), 10)}
				want = min(want, asked)
			}
			w.refused(w.post(t.Context(), PathAsk, key, header...), wordDeadline)
			if took := time.Since(began); took != want {
				t.Errorf("it took %v, not %v", took, want)
			}
			<-ended
		}
		first = true
		resp := w.post(t.Context(), PathAsk, key)
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if string(got) != "\x00\x00\x00\x01x" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
		if s := w.last(); s.Code != string(wordDeadline) || s.Status != 200 || s.Segments != 1 {
			t.Errorf("%+v", s)
		}
		<-ended
	})
}

// An answer that fails in the middle is cut, so that it cannot be taken for a
// whole one, and nothing is said in it.
func TestRelayMidStreamFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{}, "a")
		w.enclave("a", func(_ context.Context, _ []byte, send func([]byte) error) error {
			send([]byte("x"))
			return &vsockrpc.Error{Code: vsockrpc.Internal, Message: "canary"}
		})
		key := w.attest()
		resp := w.post(t.Context(), PathAsk, key)
		defer resp.Body.Close()
		got, err := io.ReadAll(resp.Body)
		if string(got) != "\x00\x00\x00\x01x" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%q, %v", got, err)
		}
		synctest.Wait()
		if s := w.last(); s.Code != string(wordInternal) || s.Segments != 1 {
			t.Errorf("%+v", s)
		}
	})
}

// A client that leaves cancels the enclave's work, before the first segment and
// after it.
func TestRelayClientLeaves(t *testing.T) {
	for _, segments := range []int{0, 1} {
		synctest.Test(t, func(t *testing.T) {
			w := newRelayWorld(t, RelayOptions{}, "a")
			ended := make(chan error, 1)
			begun := make(chan struct{})
			w.enclave("a", func(ctx context.Context, _ []byte, send func([]byte) error) error {
				for range segments {
					send([]byte("x"))
				}
				close(begun)
				<-ctx.Done()
				ended <- ctx.Err()
				return ctx.Err()
			})
			key := w.attest()
			ctx, leave := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://parent"+PathAsk, strings.NewReader(key))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", contentTypeRequest)
			go func() {
				<-begun
				synctest.Wait()
				leave()
			}()
			if resp, err := w.http.Do(req); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			synctest.Wait()
			if s := w.last(); s.Code != string(wordClientGone) || s.Segments != segments {
				t.Errorf("%+v", s)
			}
		})
	}
}

// A client that sends slowly, or not at all, does not stay.
func TestRelaySlowRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{BodyTimeout: 3 * time.Second}, "a")
		c, err := w.net.Dial(t.Context(), "http")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		io.WriteString(c, "POST "+PathAsk+" HTTP/1.1\r\nHost: parent\r\nContent-Type: "+contentTypeRequest+"\r\nContent-Length: 10\r\n\r\n12345")
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Contains(got, []byte(wordDeadline)) || time.Since(began) > 5*time.Second {
			t.Errorf("after %v: %q, %v", time.Since(began), got, err)
		}
	})
}

func TestRelayOptions(t *testing.T) {
	if r, err := NewRelay(RelayOptions{}); r != nil || err == nil {
		t.Error("a relay without a pool")
	}
}

// A client needs no more than the last segment: that it has left by the time
// the enclave ends the call is no failure.
func TestRelayWholeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for flag, want := range map[byte]word{0: wordClientGone, 1: wordOK} {
			w := newRelayWorld(t, RelayOptions{}, "a")
			w.enclave("a", func(ctx context.Context, _ []byte, send func([]byte) error) error {
				send(append(make([]byte, 36), 0)) // the header of an answer, and of a segment that others follow
				send([]byte{flag})
				<-ctx.Done()
				return ctx.Err()
			})
			key := w.attest()
			ctx, leave := context.WithCancel(t.Context())
			resp := w.post(ctx, PathAsk, key)
			for range 2 {
				if _, err := readSegment(resp.Body, nil); err != nil {
					t.Error(err)
				}
			}
			leave()
			resp.Body.Close()
			synctest.Wait()
			if s := w.last(); s.Code != string(want) || s.Segments != 2 {
				t.Errorf("flag %d: %+v", flag, s)
			}
		}
	})
}
