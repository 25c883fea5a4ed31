package front

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func someClient(i int) client {
	return clientAt(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
}

// allowed is how many of n requests at once are allowed.
func allowed(r *rates, c client, n int) (yes int) {
	for range n {
		if r.allow(c) {
			yes++
		}
	}
	return yes
}

func TestRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRates(2, 5, 100)
		a, b := someClient(1), someClient(2)
		for i, step := range []struct {
			wait time.Duration
			c    client
			want int
		}{
			{0, a, 5}, {0, a, 0}, {0, b, 5}, // each has its own
			{499 * time.Millisecond, a, 0},
			{time.Millisecond, a, 1},
			{time.Second, a, 2},
			{time.Hour, a, 5}, // no more than burst is saved up
			{0, a, 0},
		} {
			time.Sleep(step.wait)
			if got := allowed(r, step.c, 20); got != step.want {
				t.Errorf("step %d: %d of 20, not %d", i, got, step.want)
			}
		}
		if off := newRates(-1, 5, 100); allowed(off, a, 1000) != 1000 || len(off.buckets) != 0 {
			t.Error("a negative rate limits")
		}
	})
}

// However many clients there are, no more are remembered than allowed, and none
// longer than it takes until its bucket is full.
func TestRatesMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRates(1, 10, 50)
		for i := range 1000 {
			if !r.allow(someClient(i)) {
				t.Fatal(i)
			}
			if len(r.buckets) > 50 || r.used.Len() != len(r.buckets) {
				t.Fatalf("%d buckets, %d in the list", len(r.buckets), r.used.Len())
			}
		}
		// Those that asked last are still held to their rate.
		if got := allowed(r, someClient(999), 20); got != 9 {
			t.Errorf("%d, not 9", got)
		}
		time.Sleep(time.Minute)
		for range 60 {
			r.allow(someClient(1))
		}
		if len(r.buckets) != 1 {
			t.Errorf("%d clients are remembered without need", len(r.buckets))
		}
	})
}

func TestGate(t *testing.T) {
	g := newGate(3, 2)
	a, b, c := someClient(1), someClient(2), someClient(3)
	for i, step := range []struct {
		c     client
		leave bool
		want  admission
	}{
		{a, false, gateOpen}, {a, false, gateOpen}, {a, false, gateClientFull},
		{b, false, gateOpen}, {b, false, gateFull}, {c, false, gateFull},
		{a, true, 0}, {c, false, gateOpen}, {a, false, gateFull},
		{b, true, 0}, {c, true, 0}, {a, true, 0},
	} {
		if step.leave {
			g.leave(step.c)
		} else if got := g.enter(step.c); got != step.want {
			t.Errorf("step %d: %v, not %v", i, got, step.want)
		}
	}
	if g.all != 0 || len(g.inUse) != 0 {
		t.Errorf("%d requests and %d clients are left", g.all, len(g.inUse))
	}
}
