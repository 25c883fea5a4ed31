package envelope

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nitroseal/nitroseal/attest"
)

// fakeAttester numbers its documents. It waits for hold if that is set, and
// fails with err if that is.
type fakeAttester struct {
	mu    sync.Mutex
	calls int
	hold  chan struct{}
	err   error
	empty bool
	keys  [][]byte
}

func (a *fakeAttester) set(hold chan struct{}, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hold, a.err = hold, err
}

func (a *fakeAttester) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.calls
}

func (a *fakeAttester) Attest(ctx context.Context, req attest.Request) ([]byte, error) {
	a.mu.Lock()
	a.calls++
	n, hold, err := a.calls, a.hold, a.err
	a.keys = append(a.keys, req.PublicKey)
	a.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	switch {
	case err != nil:
		return nil, err
	case a.empty:
		return nil, nil
	}
	return []byte{byte(n)}, nil
}

func newTestRecipient(t *testing.T, opts RecipientOptions) *Recipient {
	t.Helper()
	r, err := NewRecipient(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantDocument calls key and expects the n-th document.
func wantDocument(t *testing.T, r *Recipient, n byte) recipientKey {
	t.Helper()
	k, err := r.key(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(k.document, []byte{n}) {
		t.Fatalf("document %d, want %d", k.document, n)
	}
	return k
}

// In a bubble of synctest time.Sleep takes no time.
func TestRecipientRenewsInBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAttester{}
		r := newTestRecipient(t, RecipientOptions{Attester: a})
		first := wantDocument(t, r, 1)
		time.Sleep(renewAge - time.Second)
		wantDocument(t, r, 1)
		synctest.Wait()
		if a.count() != 1 {
			t.Fatal("renewed too early")
		}

		hold := make(chan struct{})
		a.set(hold, nil)
		time.Sleep(time.Second)
		for range 100 { // nobody waits, and one renewal is under way
			wantDocument(t, r, 1)
		}
		synctest.Wait()
		if n := a.count(); n != 2 {
			t.Fatalf("%d attestations, want 2", n)
		}
		close(hold)
		synctest.Wait()
		if k := wantDocument(t, r, 2); k.private != first.private {
			t.Error("another key before its time")
		}
		if !bytes.Equal(a.keys[0], a.keys[1]) || !bytes.Equal(a.keys[0], first.public) {
			t.Error("another key was attested")
		}
	})
}

func TestRecipientWaitsForFreshDocument(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAttester{}
		r := newTestRecipient(t, RecipientOptions{Attester: a})
		time.Sleep(maxDocumentAge)
		hold := make(chan struct{})
		a.set(hold, nil)

		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := r.key(impatient); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want that of the context", err)
		}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if k, err := r.key(t.Context()); err != nil || !bytes.Equal(k.document, []byte{2}) {
					t.Errorf("document %d, %v", k.document, err)
				}
			})
		}
		synctest.Wait()
		close(hold)
		wg.Wait()
		if n := a.count(); n != 2 {
			t.Errorf("%d attestations, want 2", n)
		}
	})
}

func TestRecipientSurvivesFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAttester{}
		r := newTestRecipient(t, RecipientOptions{Attester: a})
		broken := errors.New("broken")
		a.set(nil, broken)
		time.Sleep(renewAge)
		wantDocument(t, r, 1) // still good
		synctest.Wait()
		wantDocument(t, r, 1)
		synctest.Wait()
		time.Sleep(maxDocumentAge - renewAge)
		if k, err := r.key(t.Context()); !errors.Is(err, broken) || k.private != nil {
			t.Fatalf("%v, want the attester's error and nothing beside it", err)
		}
		a.set(make(chan struct{}), nil) // hangs for good
		if _, err := r.key(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v, want the renewal's own deadline", err)
		}
		a.set(nil, nil)
		if _, err := r.key(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
}

// panicking is an Attester with a fault after its first document.
type panicking struct{ calls int }

func (p *panicking) Attest(context.Context, attest.Request) ([]byte, error) {
	if p.calls++; p.calls == 2 {
		panic("a fault")
	}
	return []byte{byte(p.calls)}, nil
}

func TestRecipientSurvivesPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newTestRecipient(t, RecipientOptions{Attester: &panicking{}})
		time.Sleep(maxDocumentAge)
		if _, err := r.key(t.Context()); err == nil || !strings.Contains(err.Error(), "panicked: a fault") {
			t.Errorf("got %v", err)
		}
		wantDocument(t, r, 3)
	})
}

func TestRecipientRotatesKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &fakeAttester{}
		r := newTestRecipient(t, RecipientOptions{Attester: a, KeyAge: time.Hour})
		old := wantDocument(t, r, 1)
		time.Sleep(time.Hour)
		k, err := r.key(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if k.private.Equal(old.private) || bytes.Equal(k.public, old.public) || bytes.Equal(a.keys[0], a.keys[1]) {
			t.Error("the key was not rotated")
		}
	})
}

func TestRecipientClockSetBack(t *testing.T) {
	a := &fakeAttester{}
	now := time.Unix(1_700_000_000, 0)
	var mu sync.Mutex
	r := newTestRecipient(t, RecipientOptions{Attester: a, Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	old := wantDocument(t, r, 1)
	mu.Lock()
	now = now.Add(-time.Second)
	mu.Unlock()
	if k := wantDocument(t, r, 2); k.private.Equal(old.private) {
		t.Error("a key from the future was kept")
	}
}

func TestNewRecipientRefuses(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewRecipient(t.Context(), RecipientOptions{Attester: &fakeAttester{err: broken}}); !errors.Is(err, broken) {
		t.Error(err)
	}
	for name, opts := range map[string]RecipientOptions{
		"no attester": {},
		"1024 bits":   {Attester: &fakeAttester{}, KeyBits: 1024},
		"no document": {Attester: &fakeAttester{empty: true}},
	} {
		if r, err := NewRecipient(t.Context(), opts); err == nil || r != nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestEntropy(t *testing.T) {
	pool := filepath.Join(t.TempDir(), "pool")
	if err := os.WriteFile(pool, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	src := bytes.Repeat([]byte{0x5a}, entropySize)
	if err := mixEntropy(bytes.NewReader(src), pool); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(pool); err != nil || !bytes.Equal(got, src) {
		t.Errorf("the pool was given %x, %v", got, err)
	}
	if err := mixEntropy(bytes.NewReader(src[1:]), pool); err == nil {
		t.Error("a source that ran dry was no error")
	}
	if err := mixEntropy(bytes.NewReader(src), pool+"/none"); err == nil {
		t.Error("a missing pool was no error")
	}
}

func TestRecipientTakesEntropy(t *testing.T) {
	if f, err := os.OpenFile(kernelPool, os.O_WRONLY, 0); err != nil {
		t.Skipf("this machine's kernel takes no entropy from us: %v", err)
	} else {
		f.Close()
	}
	src := bytes.NewReader(make([]byte, entropySize))
	newTestRecipient(t, RecipientOptions{Attester: &fakeAttester{}, Entropy: src})
	if src.Len() != 0 {
		t.Errorf("%d bytes were left", src.Len())
	}
	// The source has run dry: no key is made without what was asked for.
	if _, err := NewRecipient(t.Context(), RecipientOptions{Attester: &fakeAttester{}, Entropy: src}); err == nil {
		t.Error("a key without entropy")
	}
}
