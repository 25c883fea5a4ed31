package llama

import (
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// A prefix is text whose key-value cells are kept after the request that
// computed them, under a sequence of their own.
type prefix struct {
	scope  string // who may reuse it; not used if public
	public bool   // anybody may
	tokens []inference.Token
	seq    int32
	used   time.Time
	turn   uint64 // orders uses, where the clock does not
}

// prefixes are the kept prefixes. The scheduler owns the sequences and the
// cells; this only says which to use and which to give up. Give-ups are
// returned as sequence ids, whose cells the caller removes.
type prefixes struct {
	limit int // of entries
	ttl   time.Duration
	list  []*prefix
	cells int // sum of the lengths
	turn  uint64
}

// minShared is the fewest tokens that are worth sharing. It is above what
// unrelated texts have in common by chance.
const minShared = 4

// best returns the prefix that shares most with prompt, and how many tokens,
// or nil. The last token of a prompt is always computed, since its logits are
// needed.
func (c *prefixes) best(scope string, prompt []inference.Token) (*prefix, int) {
	var found *prefix
	most := minShared - 1
	for _, p := range c.list {
		if !p.public && (scope == "" || p.scope != scope) {
			continue
		}
		if n := min(common(p.tokens, prompt), len(prompt)-1); n > most {
			found, most = p, n
		}
	}
	if found == nil {
		return nil, 0
	}
	return found, most
}

// touch marks a prefix as used.
func (c *prefixes) touch(p *prefix, now time.Time) {
	c.turn++
	p.used, p.turn = now, c.turn
}

// covers says whether a prefix of the same scope holds all of tokens, and
// marks it as used.
func (c *prefixes) covers(scope string, public bool, tokens []inference.Token, now time.Time) bool {
	for _, p := range c.list {
		if p.public == public && p.scope == scope && len(p.tokens) >= len(tokens) && common(p.tokens, tokens) == len(tokens) {
			c.touch(p, now)
			return true
		}
	}
	return false
}

// add keeps a prefix, which is not covered yet, and returns the sequences of
// those that it makes superfluous: the ones that it continues, and the ones
// over the limit. It takes over tokens.
func (c *prefixes) add(p *prefix, now time.Time) (gone []int32) {
	for _, old := range slices.Clone(c.list) {
		if old.public == p.public && old.scope == p.scope && common(old.tokens, p.tokens) == len(old.tokens) {
			gone = append(gone, c.drop(old))
		}
	}
	for len(c.list) > 0 && len(c.list) >= c.limit {
		gone = append(gone, c.drop(c.oldest()))
	}
	c.touch(p, now)
	c.list = append(c.list, p)
	c.cells += len(p.tokens)
	return gone
}

// oldest returns the prefix whose last use is the longest ago.
func (c *prefixes) oldest() *prefix {
	if len(c.list) == 0 {
		return nil
	}
	return slices.MinFunc(c.list, func(a, b *prefix) int { return int(int64(a.turn - b.turn)) })
}

// drop forgets a prefix, overwrites its tokens and returns its sequence.
func (c *prefixes) drop(p *prefix) int32 {
	c.list = slices.DeleteFunc(c.list, func(q *prefix) bool { return q == p })
	c.cells -= len(p.tokens)
	clear(p.tokens)
	return p.seq
}

// expire drops what has not been used for the time to live.
func (c *prefixes) expire(now time.Time) (gone []int32) {
	for _, p := range slices.Clone(c.list) {
		if now.Sub(p.used) >= c.ttl {
			gone = append(gone, c.drop(p))
		}
	}
	return gone
}

// next returns how long until expire has something to do; ok is false if
// there is nothing to wait for.
func (c *prefixes) next(now time.Time) (d time.Duration, ok bool) {
	for _, p := range c.list {
		if left := c.ttl - now.Sub(p.used); !ok || left < d {
			d, ok = left, true
		}
	}
	return max(d, 0), ok
}

// forget drops all prefixes of a scope.
func (c *prefixes) forget(scope string) (gone []int32) {
	for _, p := range slices.Clone(c.list) {
		if !p.public && p.scope == scope {
			gone = append(gone, c.drop(p))
		}
	}
	return gone
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
