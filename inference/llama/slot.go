package llama

import (
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// A slot is a sequence of the key-value cache, with cells of its own for one
// request. After the request it may go on holding what has been computed.
type slot struct {
	id     int32
	active bool // a request runs in it; what follows is then not used

	tokens []inference.Token // in its cells
	scope  string            // who may take them over, beside the public ones
	public int               // leading tokens that anybody may take over
	used   time.Time
	turn   uint64 // orders uses, where the clock does not
}

// slots decide what is kept and where requests go. The cells are the
// scheduler's: methods that give tokens up return the slots concerned.
type slots struct {
	all  []*slot
	turn uint64
}

// Limits of what is worth sharing.
const (
	// minShared is the fewest tokens that are taken over where they are. It is
	// above what unrelated texts have in common by chance.
	minShared = 4
	// minCopied is the fewest tokens that are copied from another slot:
	// libllama then copies all the slot's cells, which takes as long as
	// computing a few tokens.
	minCopied = 16
)

// best returns the idle slot that shares most with prompt, and how many
// tokens, or nil. The last token of a prompt is always computed, since its
// logits are needed.
func (c *slots) best(scope string, prompt []inference.Token) (*slot, int) {
	var found *slot
	most := minShared - 1
	for _, s := range c.all {
		if s.active {
			continue
		}
		n := min(common(s.tokens, prompt), len(prompt)-1)
		if scope == "" || s.scope != scope {
			n = min(n, s.public)
		}
		if n > most {
			found, most = s, n
		}
	}
	if found == nil {
		return nil, 0
	}
	return found, most
}

// place chooses the idle slot for a request that can take over n tokens from
// another one, which may be nil: that one itself, unless it would lose much
// that the request does not use, else an empty one, else the one used longest
// ago. There is an idle slot.
func (c *slots) place(from *slot, n int) *slot {
	if from != nil {
		// What is worth no copy is lost unless it is used where it is.
		worth := 2 * n
		if n < minCopied {
			worth = 8 * n
		}
		if worth >= len(from.tokens) {
			return from
		}
	}
	var found *slot
	for _, s := range c.all {
		switch {
		case s.active || s == from:
		case found == nil, len(found.tokens) > 0 && (len(s.tokens) == 0 || s.turn < found.turn):
			found = s
		}
	}
	if found == nil {
		return from
	}
	return found
}

// hold makes a slot idle. It holds tokens, which it takes over, for scope.
func (c *slots) hold(s *slot, tokens []inference.Token, scope string, public int, now time.Time) {
	c.turn++
	*s = slot{id: s.id, tokens: tokens, scope: scope, public: public, used: now, turn: c.turn}
}

// take makes an idle slot active; it no longer holds anything.
func (c *slots) take(s *slot) {
	clear(s.tokens)
	*s = slot{id: s.id, active: true}
}

// touch marks a slot as used.
func (c *slots) touch(s *slot, now time.Time) {
	c.turn++
	s.used, s.turn = now, c.turn
}

// cut shortens what an idle slot holds.
func (c *slots) cut(s *slot, n int) {
	clear(s.tokens[n:])
	s.tokens, s.scope = s.tokens[:n], ""
	s.public = min(s.public, n)
}

// expire empties the slots that have not been used for a time to live.
func (c *slots) expire(now time.Time, ttl time.Duration) (changed []*slot) {
	for _, s := range c.all {
		if len(s.tokens) > 0 && now.Sub(s.used) >= ttl {
			c.cut(s, 0)
			changed = append(changed, s)
		}
	}
	return changed
}

// next returns how long until expire has something to do; ok is false if
// there is nothing to wait for.
func (c *slots) next(now time.Time, ttl time.Duration) (d time.Duration, ok bool) {
	for _, s := range c.all {
		if left := ttl - now.Sub(s.used); len(s.tokens) > 0 && (!ok || left < d) {
			d, ok = left, true
		}
	}
	return max(d, 0), ok
}

// forget drops what is held for a scope, but for the public tokens.
func (c *slots) forget(scope string) (changed []*slot) {
	for _, s := range c.all {
		if len(s.tokens) > 0 && s.scope == scope {
			n := s.public
			if n < minCopied {
				n = 0
			}
			c.cut(s, n)
			changed = append(changed, s)
		}
	}
	return changed
}

// held returns how many slots hold something, and how many tokens.
func (c *slots) held() (n, tokens int) {
	for _, s := range c.all {
		if len(s.tokens) > 0 {
			n++
			tokens += len(s.tokens)
		}
	}
	return n, tokens
}

// common returns how many tokens a and b begin with in common.
func common(a, b []inference.Token) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
