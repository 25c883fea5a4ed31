package terminal

import (
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
)

func conversationOf(n, bytes int) *conversation {
	c := &conversation{system: "s"}
	for range n {
		c.turns = append(c.turns, turn{strings.Repeat("q", bytes), strings.Repeat("a", bytes)})
	}
	return c
}

func TestFit(t *testing.T) {
	for name, c := range map[string]struct {
		turns, bytes  int
		space, answer int
		rate          float64
		question      int
		left          int
	}{
		"all fit":               {3, 30, 2048, 256, 0, 30, 3},
		"space unknown":         {3, 30000, 0, 256, 0, 30, 3},
		"the oldest go":         {10, 300, 1024, 256, 0, 30, 3}, // (30+2*300n)/3 + 8*(2+2n) + 256 <= 1024
		"known rate":            {10, 300, 1024, 256, 0.1, 30, 9},
		"a greedy answer":       {10, 300, 1024, 9999, 0, 30, 2}, // counts as half of the space
		"none fits":             {10, 30, 100, 50, 0, 3000, 0},
		"too many messages":     {200, 1, 1 << 20, 256, 0, 1, 127}, // 254 of them, the system's and the new one
		"too much for requests": {3, 300 << 10, 0, 0, 0, 1, 1},
	} {
		conv := conversationOf(c.turns, c.bytes)
		conv.rate = c.rate
		q := strings.Repeat("n", c.question)
		dropped := conv.fit(q, c.space, c.answer)
		if len(conv.turns) != c.left || dropped != c.turns-c.left {
			t.Errorf("%s: %d turns left, want %d; dropped %d", name, len(conv.turns), c.left, dropped)
		}
		all := conv.ask(q)
		if len(all) != 2+2*c.left || all[0].Role != inference.RoleSystem || all[len(all)-1].Content != q {
			t.Errorf("%s: %d messages, the last of %d bytes", name, len(all), len(all[len(all)-1].Content))
		}
	}
}

func TestFitKeepsTheNewest(t *testing.T) {
	c := &conversation{turns: []turn{{"old", strings.Repeat("x", 3000)}, {"new", "y"}}}
	c.fit("q", 512, 256)
	if len(c.turns) != 1 || c.turns[0].question != "new" {
		t.Errorf("%d turns left", len(c.turns))
	}
}

func TestHalve(t *testing.T) {
	c := conversationOf(5, 1)
	for _, want := range []int{3, 1, 1, 0} {
		if got := c.halve(); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
}

func TestLearn(t *testing.T) {
	var c conversation
	sent := []inference.Message{{Content: strings.Repeat("a", 100)}}
	for _, x := range []struct {
		tokens int
		want   float64
	}{{0, 0}, {50, 0.5}, {1, 1.0 / 16}, {100000, 2}} {
		if c.learn(sent, x.tokens); c.rate != x.want {
			t.Errorf("%d tokens: %v, want %v", x.tokens, c.rate, x.want)
		}
	}
	if c.learn(nil, 5); c.rate != 2 {
		t.Error("learned from nothing")
	}
}
