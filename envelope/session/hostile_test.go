package session_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/attest/nsmtest"
	"github.com/nitroseal/nitroseal/envelope/session"
)

// refusal is what a client must say: an error, and of a policy its rule.
type refusal struct {
	err  error
	rule string
}

func (r refusal) check(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, r.err) {
		t.Errorf("%v; want %v", err, r.err)
	}
	if r.rule == "" {
		return
	}
	if policy, ok := errors.AsType[*attest.PolicyError](err); !ok || policy.Rule != r.rule {
		t.Errorf("%v; want the rule %q", err, r.rule)
	}
}

// answerOf makes an answer to an attestation request.
func answerOf(config, document []byte) []byte {
	b := append([]byte("NSB1"), byte(len(config)>>8), byte(len(config)))
	return append(append(b, config...), document...)
}

// splitAnswer takes one apart.
func splitAnswer(b []byte) (config, document []byte) {
	n := int(b[4])<<8 | int(b[5])
	return b[6 : 6+n], b[6+n:]
}

func mustAttest(t *testing.T, e *session.Enclave, request []byte) []byte {
	t.Helper()
	answer, err := e.Attest(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// TestHostileAttestation has the parent lie about who the enclave is. No
// request leaves the client.
func TestHostileAttestation(t *testing.T) {
	someRequest := append([]byte("NSA1"), make([]byte, session.NonceSize)...)
	for _, test := range []struct {
		name string
		// lie returns what the parent answers to request.
		lie   func(t *testing.T, w *world, request []byte) []byte
		trust func(*attest.Options)
		want  refusal
	}{
		{"an empty answer", func(*testing.T, *world, []byte) []byte { return nil }, nil, refusal{err: session.ErrMalformed}},
		{"a forged document", func(t *testing.T, w *world, request []byte) []byte {
			config, _ := splitAnswer(mustAttest(t, w.enclave, request))
			return answerOf(config, []byte("a document"))
		}, nil, refusal{err: attest.ErrMalformed}},
		{"a changed document", func(t *testing.T, w *world, request []byte) []byte {
			answer := mustAttest(t, w.enclave, request)
			answer[len(answer)-1] ^= 1
			return answer
		}, nil, refusal{err: attest.ErrSignature}},
		{"a document of the parent's own authority", func(t *testing.T, w *world, request []byte) []byte {
			ca, err := nsmtest.NewCA(nsmtest.CAOptions{Clock: w.clock.behind(time.Hour)})
			if err != nil {
				t.Fatal(err)
			}
			return mustAttest(t, w.newEnclave(nsmtest.Options{CA: ca}, nil), request)
		}, nil, refusal{err: attest.ErrUntrusted}},
		{"a replayed answer", func(t *testing.T, w *world, _ []byte) []byte {
			return mustAttest(t, w.enclave, someRequest)
		}, nil, refusal{attest.ErrPolicy, "nonce"}},
		{"an old document, of the same nonce", func(t *testing.T, w *world, request []byte) []byte {
			return mustAttest(t, w.newEnclave(nsmtest.Options{Clock: w.clock.behind(10 * time.Minute)}, nil), request)
		}, func(o *attest.Options) { o.Policy.MaxAge = 5 * time.Minute }, refusal{attest.ErrPolicy, "age"}},
		{"an enclave in debug mode", func(t *testing.T, w *world, request []byte) []byte {
			return mustAttest(t, w.newEnclave(nsmtest.Options{PCRs: attest.PCRs{0: attest.ZeroPCR(), 1: attest.ZeroPCR(), 2: attest.ZeroPCR()}}, nil), request)
		}, nil, refusal{attest.ErrPolicy, "debug"}},
		{"another image", func(t *testing.T, w *world, request []byte) []byte {
			return mustAttest(t, w.newEnclave(nsmtest.Options{PCRs: testPCRs(2)}, nil), request)
		}, nil, refusal{attest.ErrPolicy, "measurement"}},
		{"another enclave of the same image", func(t *testing.T, w *world, request []byte) []byte {
			return mustAttest(t, w.newEnclave(nsmtest.Options{ModuleID: "i-0123456789abcdef0-enc00000000000000ff"}, nil), request)
		}, func(o *attest.Options) { o.Policy.ModuleID = nsmtest.DefaultModuleID }, refusal{attest.ErrPolicy, "module id"}},
		{"an expired module", func(t *testing.T, w *world, request []byte) []byte {
			answer := mustAttest(t, w.enclave, request)
			w.clock.add(4 * time.Hour)
			return answer
		}, nil, refusal{err: attest.ErrExpired}},
		{"an expired key", func(t *testing.T, w *world, request []byte) []byte {
			old := w.newEnclave(nsmtest.Options{}, func(o *session.EnclaveOptions) { o.Clock = w.clock.behind(2 * time.Hour) })
			return mustAttest(t, old, request)
		}, nil, refusal{err: session.ErrConfigExpired}},
		{"the parent's key with the enclave's document", func(t *testing.T, w *world, request []byte) []byte {
			_, document := splitAnswer(mustAttest(t, w.enclave, request))
			config, _ := splitAnswer(mustAttest(t, w.newEnclave(nsmtest.Options{}, nil), request))
			return answerOf(config, document)
		}, nil, refusal{err: session.ErrConfig}},
		{"an earlier key of the same enclave", func(t *testing.T, w *world, request []byte) []byte {
			config, _ := splitAnswer(mustAttest(t, w.enclave, request))
			w.clock.add(31 * time.Minute)
			_, document := splitAnswer(mustAttest(t, w.enclave, request))
			return answerOf(config, document)
		}, nil, refusal{err: session.ErrConfig}},
		{"a document that attests something else", func(t *testing.T, w *world, request []byte) []byte {
			config, _ := splitAnswer(mustAttest(t, w.enclave, request))
			document, err := w.newNSM(nsmtest.Options{}).Attest(t.Context(), attest.Request{Nonce: request[4:], UserData: []byte("else")})
			if err != nil {
				t.Fatal(err)
			}
			return answerOf(config, document)
		}, nil, refusal{err: session.ErrConfig}},
		{"a receipt's document", func(t *testing.T, w *world, request []byte) []byte {
			receipt, err := w.enclave.Receipt(t.Context(), session.Claims{Request: []byte("q"), Response: []byte("a")})
			if err != nil {
				t.Fatal(err)
			}
			return answerOf(splitAnswer(receipt)) // it is laid out alike
		}, nil, refusal{attest.ErrPolicy, "nonce"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			c := w.client(t, func(o *session.ClientOptions) {
				if test.trust != nil {
					test.trust(&o.Enclave)
				}
			})
			asked := false
			w.onAttest = func(request []byte) ([]byte, error) { return test.lie(t, w, request), nil }
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] { asked = true; return w.deliver(request) }
			got, err := ask(t, c, "the question")
			test.want.check(t, err)
			if got != "" || asked {
				t.Errorf("got %q, asked: %v", got, asked)
			}
			// A failure is not remembered.
			w.onAttest = nil
			w.enclave = w.newEnclave(nsmtest.Options{}, nil)
			w.direct.enclave = w.enclave
			if e, err := c.Establish(t.Context()); err != nil || e == nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestSwappedAttestations gives two clients each other's answers.
func TestSwappedAttestations(t *testing.T) {
	w := newWorld(t, nil)
	a, b := w.client(t, nil), w.client(t, nil)
	requests, answers := make(chan []byte), make(chan []byte)
	w.onAttest = func(request []byte) ([]byte, error) {
		requests <- request
		return <-answers, nil
	}
	failed := make(chan error, 2)
	for _, c := range []*session.Client{a, b} {
		go func() {
			_, err := c.Establish(context.Background())
			failed <- err
		}()
	}
	first, second := <-requests, <-requests
	// Whoever takes the first may be either: both get an answer to one nonce.
	stale := mustAttest(t, w.enclave, first)
	if bytes.Equal(first, second) {
		t.Fatal("two clients have one nonce")
	}
	answers <- stale
	answers <- stale
	refused := 0
	for range 2 {
		if err := <-failed; err != nil {
			refused++
			refusal{attest.ErrPolicy, "nonce"}.check(t, err)
		}
	}
	if refused != 1 {
		t.Errorf("%d of two clients refused an answer for one of them", refused)
	}
}

// segmentsOf collects a whole answer.
func segmentsOf(t *testing.T, answer iter.Seq2[[]byte, error]) [][]byte {
	t.Helper()
	var all [][]byte
	for s, err := range answer {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, bytes.Clone(s))
	}
	return all
}

// yielding is an answer of these segments.
func yielding(segments ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, s := range segments {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// flipped returns a copy of b with one bit changed; i counts from the end
// where it is negative.
func flipped(b []byte, i int) []byte {
	c := bytes.Clone(b)
	if i < 0 {
		i += len(c)
	}
	c[i] ^= 1
	return c
}

// TestHostileAnswer has the parent tamper with the answer to "ab", which has
// the segments "a", "b" and "!".
func TestHostileAnswer(t *testing.T) {
	const header = 36 // of the response, before the first segment
	for _, test := range []struct {
		name   string
		tamper func(segments, others [][]byte) [][]byte
		got    string // what is authentic before the error
		want   error
	}{
		{"no segment", func(_, _ [][]byte) [][]byte { return nil }, "", session.ErrTruncated},
		{"cut before the last", func(s, _ [][]byte) [][]byte { return s[:2] }, "ab", session.ErrTruncated},
		{"cut after the first", func(s, _ [][]byte) [][]byte { return s[:1] }, "a", session.ErrTruncated},
		{"a segment cut", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[1][:len(s[1])-1], s[2]} }, "a", session.ErrSegment},
		{"a segment longer", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], append(bytes.Clone(s[1]), 0), s[2]} }, "a", session.ErrSegment},
		{"an empty segment", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], {}, s[1], s[2]} }, "a", session.ErrSegment},
		{"first and second swapped", func(s, _ [][]byte) [][]byte { return [][]byte{s[1], s[0], s[2]} }, "", session.ErrSegment},
		{"swapped, with the header before them", func(s, _ [][]byte) [][]byte {
			return [][]byte{slices.Concat(s[0][:header], s[1]), s[0][header:], s[2]}
		}, "", session.ErrOrder},
		{"second and last swapped", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[2], s[1]} }, "a", session.ErrOrder},
		{"one left out", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[2]} }, "a", session.ErrOrder},
		{"the first again", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[0][header:], s[1], s[2]} }, "a", session.ErrOrder},
		{"the second again", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[1], s[1], s[2]} }, "ab", session.ErrOrder},
		// What comes behind the last is not looked at: the answer is whole.
		{"the last again", func(s, _ [][]byte) [][]byte { return append(s, s[2]) }, "ab!", nil},
		{"something behind the last", func(s, _ [][]byte) [][]byte { return append(s, []byte("more")) }, "ab!", nil},
		{"another request's answer", func(_, o [][]byte) [][]byte { return o }, "", session.ErrSegment},
		{"another request's segment", func(s, o [][]byte) [][]byte { return [][]byte{s[0], o[1], s[2]} }, "a", session.ErrSegment},
		{"another answer's header", func(s, o [][]byte) [][]byte {
			return [][]byte{slices.Concat(o[0][:header], s[0][header:]), s[1], s[2]}
		}, "", session.ErrSegment},
		{"the second said to be the last", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], flipped(s[1], 0)} }, "a", session.ErrSegment},
		{"the last said not to be", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[1], flipped(s[2], 0)} }, "ab", session.ErrSegment},
		{"the second as the third", func(s, _ [][]byte) [][]byte { return [][]byte{s[0], s[1], flipped(s[1], 4)} }, "ab", session.ErrSegment},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			var others [][]byte
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
				others = segmentsOf(t, w.deliver(request))
				return yielding(others...)
			}
			if got, err := ask(t, w.client(t, nil), "xy"); err != nil || got != "xy!" {
				t.Fatal(got, err)
			}
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] {
				return yielding(test.tamper(segmentsOf(t, w.deliver(request)), others)...)
			}
			got, err := ask(t, w.client(t, nil), "ab")
			if got != test.got || !errors.Is(err, test.want) {
				t.Errorf("%q, %v; want %q, %v", got, err, test.got, test.want)
			}
			if w.opened != 2 {
				t.Errorf("%d requests were opened", w.opened)
			}
		})
	}
}

// TestHostileRequest has the parent tamper with a request.
func TestHostileRequest(t *testing.T) {
	// Where fields of a request begin (FORMAT.md).
	const (
		key, id, issued, encLength, enc = 4, 12, 28, 36, 38
	)
	for _, test := range []struct {
		name    string
		deliver func(w *world, request []byte) iter.Seq2[[]byte, error]
		want    error
		opened  int
	}{
		{"nothing", func(w *world, _ []byte) iter.Seq2[[]byte, error] { return w.deliver(nil) }, session.ErrMalformed, 0},
		{"another magic", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, 0)) }, session.ErrMalformed, 0},
		{"another key", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, key)) }, session.ErrKeyUnknown, 0},
		{"another id", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, id)) }, session.ErrOpen, 0},
		{"another time", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, encLength-1)) }, session.ErrOpen, 0},
		{"a time far away", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, issued+3)) }, session.ErrStale, 0},
		{"another length", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, encLength+1)) }, session.ErrOpen, 0},
		{"another encapsulation", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, enc)) }, session.ErrOpen, 0},
		{"another ciphertext", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, -17)) }, session.ErrOpen, 0},
		{"another tag", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(flipped(r, -1)) }, session.ErrOpen, 0},
		{"cut short", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(r[:len(r)-1]) }, session.ErrOpen, 0},
		{"longer", func(w *world, r []byte) iter.Seq2[[]byte, error] { return w.deliver(append(bytes.Clone(r), 0)) }, session.ErrOpen, 0},
		{"too long", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			return w.deliver(append(bytes.Clone(r), make([]byte, session.MaxRequest)...))
		}, session.ErrMalformed, 0},
		{"again", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			for range w.deliver(r) {
			}
			return w.deliver(r)
		}, session.ErrReplayed, 1},
		{"too late", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			w.clock.add(5*time.Minute + time.Millisecond)
			return w.deliver(r)
		}, session.ErrStale, 0},
		{"with the enclave's clock set back", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			w.clock.add(-5*time.Minute - time.Millisecond)
			return w.deliver(r)
		}, session.ErrStale, 0},
		{"again, after the enclave's clock was set back", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			for range w.deliver(r) {
			}
			w.clock.add(-4 * time.Minute)
			return w.deliver(r)
		}, session.ErrReplayed, 1},
		{"to an enclave that has ended", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			w.enclave.Close()
			return w.deliver(r)
		}, session.ErrClosed, 0},
		{"to another enclave", func(w *world, r []byte) iter.Seq2[[]byte, error] {
			other := &direct{enclave: w.newEnclave(nsmtest.Options{}, nil), handler: echo}
			return other.deliver(r)
		}, session.ErrKeyUnknown, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.onAsk = func(request []byte) iter.Seq2[[]byte, error] { return test.deliver(w, request) }
			got, err := ask(t, w.client(t, nil), "the question")
			if got != "" || !errors.Is(err, test.want) {
				t.Errorf("%q, %v; want %v", got, err, test.want)
			}
			if w.opened != test.opened {
				t.Errorf("opened %d times", w.opened)
			}
		})
	}
}
