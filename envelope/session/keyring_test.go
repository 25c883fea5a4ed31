package session

import (
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"
)

// ringClock is the time of a keyring that a test turns.
type ringClock struct{ now time.Time }

func newRing(t *testing.T, rotate time.Duration, requests int) (*keyring, *ringClock) {
	t.Helper()
	c := &ringClock{vectorTime}
	k := &keyring{kem: X25519, rotateAfter: rotate, maxRequests: requests, clock: func() time.Time { return c.now }}
	return k, c
}

func (c *ringClock) add(d time.Duration) { c.now = c.now.Add(d) }

func current(t *testing.T, k *keyring) *generation {
	t.Helper()
	g, err := k.current()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// opens is what an enclave does to open a request.
func (k *keyring) opens(g *generation, request RequestID) error {
	found, _, err := k.find(g.id, request)
	if err != nil {
		return err
	}
	return k.admit(found, request)
}

func TestRotation(t *testing.T) {
	k, c := newRing(t, 30*time.Minute, 100)
	first := current(t, k)
	c.add(30*time.Minute - 1)
	if current(t, k) != first {
		t.Error("rotated too early")
	}
	c.add(1)
	second := current(t, k)
	if second == first {
		t.Error("not rotated")
	}
	c.add(31 * time.Minute) // as long as lateness allows
	if err := k.opens(first, RequestID{1}); err != nil {
		t.Error(err)
	}
	c.add(1)
	if err := k.opens(first, RequestID{2}); !errors.Is(err, ErrKeyUnknown) {
		t.Errorf("after its end: %v", err)
	}
	if first.private != nil {
		t.Error("the key is still in memory")
	}
}

// TestOpenedOnce has a parent hold back a request that a client has sealed to
// two keys, until the first key is gone: its clock, and floods of requests,
// must not help.
func TestOpenedOnce(t *testing.T) {
	request := RequestID{1}
	for name, test := range map[string]struct {
		rotate time.Duration
		// pass lets the time or requests go by after which first is dropped.
		pass func(t *testing.T, k *keyring, c *ringClock)
	}{
		"first expires": {2 * time.Minute, func(t *testing.T, k *keyring, c *ringClock) {
			c.add(3*time.Minute + time.Second)
		}},
		"first gives way": {time.Hour, func(t *testing.T, k *keyring, c *ringClock) {
			c.add(minKeyAge)
			for i := range maxKeys {
				g := current(t, k)
				for n := range k.maxRequests {
					k.opens(g, RequestID{2, byte(i), byte(n)})
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			k, c := newRing(t, test.rotate, 4)
			first := current(t, k)
			if err := k.opens(first, request); err != nil {
				t.Fatal(err)
			}
			for n := range 3 {
				k.opens(first, RequestID{3, byte(n)})
			}
			c.add(2 * time.Minute) // and another is made, if not by then for its number
			second := current(t, k)
			if second == first {
				t.Fatal("not rotated")
			}
			test.pass(t, k, c)
			if err := k.opens(first, request); !errors.Is(err, ErrKeyUnknown) {
				t.Fatalf("the first key is still there: %v", err)
			}
			if err := k.opens(second, request); !errors.Is(err, ErrReplayed) && !errors.Is(err, ErrKeyUnknown) {
				t.Errorf("opened again: %v", err)
			}
			if second.private == nil {
				t.Error("the second key is gone too: nothing was tested")
			}
		})
	}
}

// TestDroppedWhileOpening has a key end between the moment when it was found
// and the moment when two copies of a request are admitted.
func TestDroppedWhileOpening(t *testing.T) {
	k, c := newRing(t, time.Minute, 100)
	g := current(t, k)
	for range 2 {
		if _, private, err := k.find(g.id, RequestID{1}); err != nil || private == nil {
			t.Fatal(err)
		}
	}
	c.add(time.Hour)
	current(t, k)
	for range 2 {
		if err := k.admit(g, RequestID{1}); !errors.Is(err, ErrKeyUnknown) {
			t.Errorf("%v", err)
		}
	}
	k.close()
	if err := k.admit(g, RequestID{1}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := k.current(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// TestUsedUp fills keys: another is given out before one is full, and a client
// that still has a full one is told to ask for another.
func TestUsedUp(t *testing.T) {
	k, c := newRing(t, time.Hour, 4)
	first := current(t, k)
	for n := range 3 {
		if err := k.opens(first, RequestID{byte(n)}); err != nil {
			t.Fatal(err)
		}
	}
	if current(t, k) == first {
		t.Error("at three quarters the same key is given out")
	}
	if err := k.opens(first, RequestID{3}); err != nil {
		t.Errorf("the last quarter: %v", err)
	}
	if err := k.opens(first, RequestID{4}); !errors.Is(err, ErrKeyUnknown) {
		t.Errorf("full, with another key there: %v", err)
	}
	if err := k.opens(first, RequestID{3}); !errors.Is(err, ErrReplayed) {
		t.Errorf("a replay to a full key: %v", err)
	}
	// Flooded within a minute, it has no room in the end, and loses no key.
	for i := range 20 {
		g := current(t, k)
		for n := range 4 {
			k.opens(g, RequestID{9, byte(i), byte(n)})
		}
	}
	last := current(t, k)
	if err := k.opens(last, RequestID{8}); !errors.Is(err, ErrBusy) || len(k.keys) != maxKeys || k.keys[0] != first {
		t.Errorf("%v, %d keys", err, len(k.keys))
	}
	c.add(minKeyAge)
	if current(t, k) == last {
		t.Error("after a minute there is still no room")
	}
}

// TestMemoryIsBounded floods a keyring for hours, with rotation as fast as it
// goes.
func TestMemoryIsBounded(t *testing.T) {
	const requests, maxFormer = 64, 16
	k, c := newRing(t, time.Minute, requests)
	most, last := 0, (*generation)(nil)
	for i := range 3000 {
		g := current(t, k)
		for n := range requests {
			if err := k.opens(g, RequestID{byte(i), byte(i >> 8), byte(n)}); err != nil && !errors.Is(err, ErrBusy) && !errors.Is(err, ErrReplayed) {
				t.Fatal(err)
			}
		}
		if last != nil && g.made < last.made {
			t.Fatal("an older key is given out")
		}
		last = g
		ids := 0
		for _, all := range [][]*generation{k.keys, k.former} {
			for _, g := range all {
				ids += len(g.opened)
			}
		}
		most = max(most, ids)
		if len(k.keys) > maxKeys || len(k.former) > maxFormer {
			t.Fatalf("%d keys, %d former", len(k.keys), len(k.former))
		}
		c.add(4 * time.Second)
	}
	if limit := (maxKeys + maxFormer) * requests; most > limit || most < maxKeys*requests/2 {
		t.Errorf("%d ids at most, the limit is %d", most, limit)
	}
	if c.add(10 * time.Minute); len(k.keys) == 0 {
		t.Fatal("no keys")
	}
	current(t, k)
	c.add(2 * time.Minute)
	current(t, k)
	c.add(10 * time.Minute)
	if current(t, k); len(k.former) > 2 {
		t.Errorf("%d former keys are still remembered", len(k.former))
	}
}

// TestClockSetBack sets the clock back by a day and on again: keys go on being
// rotated, and nothing that was opened is forgotten early.
func TestClockSetBack(t *testing.T) {
	k, c := newRing(t, 30*time.Minute, 100)
	first := current(t, k)
	if err := k.opens(first, RequestID{1}); err != nil {
		t.Fatal(err)
	}
	c.add(29 * time.Minute)
	current(t, k)
	c.add(-24 * time.Hour)
	if current(t, k) != first {
		t.Error("the clock that was set back makes another key")
	}
	if err := k.opens(first, RequestID{1}); !errors.Is(err, ErrReplayed) {
		t.Error(err)
	}
	c.add(time.Minute)
	if current(t, k) == first {
		t.Error("not rotated 30 minutes after")
	}
	c.add(32 * time.Minute)
	if err := k.opens(first, RequestID{2}); !errors.Is(err, ErrKeyUnknown) {
		t.Errorf("an expired key: %v", err)
	}
}

// TestOneOfManyCopies has copies of a request opened at the same time.
func TestOneOfManyCopies(t *testing.T) {
	v := loadVectors(t).Exchanges[0]
	_, g := v.generation(t)
	k, c := newRing(t, time.Hour, 100)
	k.keys = append(k.keys, g)
	e := &Enclave{opts: EnclaveOptions{Clock: func() time.Time { return c.now }, Window: defaultWindow}, keys: k}
	var wg sync.WaitGroup
	errs := make(chan error, 32)
	for range cap(errs) {
		wg.Go(func() {
			_, err := e.Open(v.Request)
			errs <- err
		})
	}
	wg.Wait()
	opened := 0
	for range cap(errs) {
		if err := <-errs; err == nil {
			opened++
		} else if !errors.Is(err, ErrReplayed) {
			t.Error(err)
		}
	}
	if opened != 1 {
		t.Errorf("opened %d times", opened)
	}
}

// TestReplayMemory holds the documented 40 bytes or so for each request.
func TestReplayMemory(t *testing.T) {
	k, _ := newRing(t, time.Hour, defaultMaxRequests)
	g := current(t, k)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for n := range defaultMaxRequests {
		if err := k.admit(g, RequestID{byte(n), byte(n >> 8), byte(n >> 16)}); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / defaultMaxRequests
	if each > 64 {
		t.Errorf("%d bytes for each request", each)
	}
	t.Logf("%d bytes for each request", each)
	runtime.KeepAlive(k)
}
