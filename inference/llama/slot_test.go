package llama

import (
	"slices"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// run returns the tokens from, from+1, …, n of them.
func run(from inference.Token, n int) []inference.Token {
	out := make([]inference.Token, n)
	for i := range out {
		out[i] = from + inference.Token(i)
	}
	return out
}

func newSlots(n int) *slots {
	c := new(slots)
	for id := range n {
		c.all = append(c.all, &slot{id: int32(id)})
	}
	return c
}

func TestSlotsBest(t *testing.T) {
	now := time.Now()
	c := newSlots(5)
	c.hold(c.all[1], run(1, 6), "a", 0, now)
	c.hold(c.all[2], run(1, 8), "b", 0, now)
	c.hold(c.all[3], run(1, 20), "c", 5, now)
	c.take(c.all[4])
	for _, tt := range []struct {
		scope  string
		prompt []inference.Token
		id     int32
		n      int
	}{
		{"a", run(1, 9), 1, 6},
		{"b", run(1, 9), 2, 8},
		{"b", run(1, 8), 2, 7}, // the last one is computed
		{"a", append(run(1, 5), 99), 1, 5},
		{"c", run(1, 30), 3, 20},
		{"", run(1, 30), 3, 5},
		{"d", run(1, 30), 3, 5},
		{"d", append(run(1, 3), 99), 0, 0}, // too little
		{"a", run(1, 4), 0, 0},             // three and the last one
		{"a", nil, 0, 0},
	} {
		s, n := c.best(tt.scope, tt.prompt)
		if n != tt.n || s == nil && tt.n > 0 || s != nil && s.id != tt.id {
			t.Errorf("%q %v: %v %d", tt.scope, tt.prompt, s, n)
		}
	}
	c.take(c.all[1])
	if s, n := c.best("a", run(1, 9)); n != 5 || s.id != 3 {
		t.Errorf("an active slot was offered: %v %d", s, n)
	}
}

func TestSlotsPlace(t *testing.T) {
	now := time.Now()
	c := newSlots(3)
	at := func(from *slot, n int) int32 { return c.place(from, n).id }
	if got := at(nil, 0); got != 0 {
		t.Errorf("empty: %d", got)
	}
	c.hold(c.all[0], run(1, 10), "a", 0, now)
	c.hold(c.all[1], run(50, 10), "b", 0, now)
	if got := at(nil, 0); got != 2 {
		t.Errorf("an empty one comes first: %d", got)
	}
	for _, tt := range []struct {
		n, of int
		want  int32
	}{{20, 40, 0}, {19, 40, 2}, {5, 40, 0}, {4, 40, 2}} {
		c.hold(c.all[0], run(1, tt.of), "a", 0, now)
		if got := at(c.all[0], tt.n); got != tt.want {
			t.Errorf("%d of %d used: %d", tt.n, tt.of, got)
		}
	}
	c.hold(c.all[0], run(1, 40), "a", 0, now)
	c.hold(c.all[1], run(50, 40), "b", 0, now)
	c.take(c.all[2])
	if got := at(nil, 0); got != 0 {
		t.Errorf("the oldest: %d", got)
	}
	c.touch(c.all[0], now)
	if got := at(nil, 0); got != 1 {
		t.Errorf("the oldest after a use: %d", got)
	}
	if got := at(c.all[1], 2); got != 0 {
		t.Errorf("another than the source: %d", got)
	}
	c.take(c.all[0])
	if got := at(c.all[1], 2); got != 1 {
		t.Errorf("the only one: %d", got)
	}
}

func TestSlotsGiveUp(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	const ttl = 10 * time.Second
	ids := func(changed []*slot) (out []int32) {
		for _, s := range changed {
			out = append(out, s.id)
		}
		return out
	}
	c := newSlots(4)
	kept := run(1, 40)
	c.hold(c.all[0], kept, "a", 0, at(0))
	c.hold(c.all[1], run(1, 40), "a", 30, at(1))
	c.hold(c.all[2], run(1, 40), "b", 30, at(2))
	c.hold(c.all[3], run(1, 40), "a", 3, at(3))
	if n, tokens := c.held(); n != 4 || tokens != 160 {
		t.Errorf("%d hold %d", n, tokens)
	}
	if d, ok := c.next(at(4), ttl); !ok || d != 6*time.Second {
		t.Errorf("next expiry in %v", d)
	}
	if got := ids(c.forget("a")); !slices.Equal(got, []int32{0, 1, 3}) {
		t.Errorf("forgotten: %v", got)
	}
	if slices.Max(kept) != 0 {
		t.Error("forgotten tokens are still there")
	}
	if n, tokens := c.held(); n != 2 || tokens != 70 {
		t.Errorf("%d hold %d", n, tokens)
	}
	if s, n := c.best("a", run(1, 50)); n != 30 || s.scope == "a" {
		t.Errorf("after forget: %v %d", s, n)
	}
	if got := ids(c.expire(at(10), ttl)); got != nil {
		t.Errorf("expired early: %v", got)
	}
	if got := ids(c.expire(at(11), ttl)); !slices.Equal(got, []int32{1}) {
		t.Errorf("expired: %v", got)
	}
	if got := ids(c.expire(at(11), 0)); !slices.Equal(got, []int32{2}) {
		t.Errorf("all expired: %v", got)
	}
	if _, ok := c.next(at(11), ttl); ok {
		t.Error("something to wait for")
	}
}
