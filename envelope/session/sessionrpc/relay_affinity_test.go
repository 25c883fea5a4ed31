package sessionrpc

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session"
)

// named is an enclave that answers with its name, or with key_unknown what is
// not for its key.
func named(name string, asked *int) script {
	return func(_ context.Context, req []byte, send func([]byte) error) error {
		*asked++
		if string(req[:session.KeyIDSize]) != pinKey(name) {
			return refuse(session.ErrKeyUnknown)
		}
		return send([]byte(name))
	}
}

// Requests go to the enclave that has the key. When that is gone they are
// refused, and no other enclave sees them; what is sealed to another goes on.
func TestRelayAffinity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{}, "a", "b")
		asked := map[string]*int{"a": new(int), "b": new(int)}
		kill := map[string]func(){}
		for name, n := range asked {
			kill[name] = w.enclave(name, named(name, n))
		}
		time.Sleep(time.Minute) // the pool looks again for what it did not find
		keys := map[string]bool{}
		for range 4 {
			keys[w.attest()] = true
		}
		if len(keys) != 2 {
			t.Fatalf("attestations of %d enclaves", len(keys))
		}
		ask := func(name string) *http.Response { return w.post(t.Context(), PathAsk, pinKey(name)+"?") }
		for i := range 12 { // two by two, which turns would not do
			name := []string{"a", "b"}[i/2%2]
			resp := ask(name)
			got, err := readSegment(resp.Body, nil)
			if err != nil || string(got) != name {
				t.Errorf("%s answered what was for %s: %v", got, name, err)
			}
			resp.Body.Close()
		}
		kill["a"]()
		time.Sleep(time.Millisecond)
		w.refused(ask("a"), wordKeyUnknown)
		if *asked["a"] != 6 || *asked["b"] != 6 {
			t.Errorf("asked %d and %d times", *asked["a"], *asked["b"])
		}
		if key := w.attest(); key != pinKey("b") {
			t.Errorf("%q attests", key)
		}
		resp := ask("b")
		if got, err := readSegment(resp.Body, nil); err != nil || string(got) != "b" {
			t.Errorf("%q, %v", got, err)
		}
		resp.Body.Close()
		kill["b"]()
		time.Sleep(time.Millisecond)
		w.refused(ask("b"), wordKeyUnknown)
		w.refused(w.post(t.Context(), PathAttest, "nonce"), wordNotReached)
	})
}

// An enclave that dies in the middle of an answer cuts that, and one that may
// have begun with a request is not said to have lost its key.
func TestRelayEnclaveDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{}, "a")
		begun := make(chan struct{}, 1)
		segments := 1
		answer := func(ctx context.Context, _ []byte, send func([]byte) error) error {
			for range segments {
				send([]byte("x"))
			}
			begun <- struct{}{}
			<-ctx.Done()
			return ctx.Err()
		}
		kill := w.enclave("a", answer)
		key := w.attest()
		resp := w.post(t.Context(), PathAsk, key)
		<-begun
		kill()
		if got, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%q is taken for a whole answer", got)
		}
		resp.Body.Close()
		segments = 0
		kill = w.enclave("a", answer)
		time.Sleep(6 * time.Second) // the pool finds it again
		key = w.attest()
		go func() {
			<-begun
			kill()
		}()
		w.refused(w.post(t.Context(), PathAsk, key), wordNotReached)
	})
}

// The keys used last are remembered, no more than allowed.
func TestRelayKeysBounded(t *testing.T) {
	m := newKeyMap(3)
	key := func(i uint64) (k session.KeyID) {
		binary.BigEndian.PutUint64(k[:], i)
		return k
	}
	for i := range uint64(3) {
		m.put(key(i), "mem://a")
	}
	m.put(key(0), "mem://b") // moved, and used
	m.get(key(1))
	m.put(key(3), "mem://a")
	for i, want := range []string{"mem://b", "mem://a", "", "mem://a"} {
		if got, ok := m.get(key(uint64(i))); got != want || ok != (want != "") {
			t.Errorf("key %d: %q", i, got)
		}
	}
	for i := range uint64(1000) {
		m.put(key(i+10), "mem://a")
	}
	if len(m.byKey) != 3 || m.used.Len() != 3 {
		t.Errorf("%d and %d keys", len(m.byKey), m.used.Len())
	}
}

// A client that does not read is cut off after WriteTimeout, and its enclave's
// work with it; others are served meanwhile.
func TestRelaySlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newRelayWorld(t, RelayOptions{WriteTimeout: 5 * time.Second}, "a")
		ended := make(chan time.Time, 1)
		w.enclave("a", func(ctx context.Context, req []byte, send func([]byte) error) error {
			if string(req) == pinKey("a")+"short" {
				return send([]byte("answer"))
			}
			for send(make([]byte, 32<<10)) == nil {
			}
			ended <- time.Now()
			return ctx.Err()
		})
		key := w.attest()
		c, err := w.net.Dial(t.Context(), "http")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		began := time.Now()
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: parent\r\nContent-Type: %s\r\nContent-Length: 12\r\n\r\n%slong", PathAsk, contentTypeRequest, key)
		for range 3 {
			synctest.Wait()
			other := w.post(t.Context(), PathAsk, key+"short")
			if got, err := readSegment(other.Body, nil); err != nil || string(got) != "answer" {
				t.Errorf("%q, %v", got, err)
			}
			other.Body.Close()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("others waited for %v", took)
		}
		if took := (<-ended).Sub(began); took < 4*time.Second || took > 6*time.Second {
			t.Errorf("cut off after %v", took)
		}
		synctest.Wait()
		if s := w.last(); s.Code != string(wordClientGone) || s.Segments == 0 {
			t.Errorf("%+v", s)
		}
	})
}
