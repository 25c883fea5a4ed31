package llama

import (
	"slices"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

func tokens(n ...inference.Token) []inference.Token { return n }

func TestPrefixesBest(t *testing.T) {
	now := time.Now()
	c := &prefixes{limit: 9}
	c.add(&prefix{scope: "a", tokens: tokens(1, 2, 3, 4, 5, 6), seq: 1}, now)
	c.add(&prefix{scope: "b", tokens: tokens(1, 2, 3, 4, 5, 6, 7, 8), seq: 2}, now)
	c.add(&prefix{public: true, tokens: tokens(1, 2, 3, 4), seq: 3}, now)
	for _, tt := range []struct {
		scope  string
		prompt []inference.Token
		seq    int32
		n      int
	}{
		{"a", tokens(1, 2, 3, 4, 5, 6, 7, 8, 9), 1, 6},
		{"b", tokens(1, 2, 3, 4, 5, 6, 7, 8, 9), 2, 8},
		{"b", tokens(1, 2, 3, 4, 5, 6, 7, 8), 2, 7}, // the last one is computed
		{"a", tokens(1, 2, 3, 4, 5, 9), 1, 5},
		{"", tokens(1, 2, 3, 4, 5, 6), 3, 4},
		{"c", tokens(1, 2, 3, 4, 5, 6), 3, 4},
		{"c", tokens(1, 2, 3, 9), 0, 0}, // too little
		{"a", tokens(1, 2, 3, 4), 0, 0}, // three and the last one
		{"a", nil, 0, 0},
	} {
		p, n := c.best(tt.scope, tt.prompt)
		if n != tt.n || p == nil && tt.n > 0 || p != nil && p.seq != tt.seq {
			t.Errorf("%q %v: %v %d", tt.scope, tt.prompt, p, n)
		}
	}
}

func TestPrefixesGiveWay(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	c := &prefixes{limit: 2, ttl: 10 * time.Second}
	if gone := c.add(&prefix{scope: "a", tokens: tokens(1, 2), seq: 1}, at(0)); gone != nil {
		t.Error(gone)
	}
	// What continues another takes its place, in the same scope only.
	if gone := c.add(&prefix{scope: "b", tokens: tokens(1, 2, 3), seq: 2}, at(1)); gone != nil {
		t.Error(gone)
	}
	kept := tokens(1, 2, 3)
	if gone := c.add(&prefix{scope: "a", tokens: kept, seq: 3}, at(2)); !slices.Equal(gone, []int32{1}) {
		t.Error(gone)
	}
	if c.cells != 6 {
		t.Errorf("%d cells", c.cells)
	}
	if !c.covers("a", false, tokens(1, 2), at(3)) || c.covers("a", true, tokens(1, 2), at(3)) ||
		c.covers("c", false, tokens(1), at(3)) || c.covers("a", false, tokens(1, 2, 3, 4), at(3)) {
		t.Error("covers")
	}
	if d, ok := c.next(at(4)); !ok || d != 7*time.Second {
		t.Errorf("next expiry in %v", d)
	}
	// The limit: b was used the longest ago.
	if gone := c.add(&prefix{scope: "c", tokens: tokens(9), seq: 4}, at(5)); !slices.Equal(gone, []int32{2}) {
		t.Error(gone)
	}
	if gone := c.forget("c"); !slices.Equal(gone, []int32{4}) {
		t.Error(gone)
	}
	if gone := c.expire(at(12)); gone != nil {
		t.Error("expired early")
	}
	if gone := c.expire(at(13)); !slices.Equal(gone, []int32{3}) || c.cells != 0 || len(c.list) != 0 {
		t.Errorf("%v, %d cells", gone, c.cells)
	}
	if slices.Max(kept) != 0 {
		t.Error("the tokens of a dropped prefix are still there")
	}
	if _, ok := c.next(at(13)); ok {
		t.Error("something to wait for")
	}
	c.add(&prefix{public: true, tokens: tokens(9), seq: 4}, at(14))
	if gone := c.forget(""); gone != nil {
		t.Error("a public prefix was forgotten")
	}
}
