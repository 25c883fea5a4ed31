package llama

import (
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// settle gives a new sequence a slot, and what has been computed of its prompt:
// by an earlier request, whose cells are held, or by one that runs.
func (s *scheduler) settle(q *sequence, now time.Time) {
	var from *slot
	var n int
	if s.keeps {
		from, n = s.slots.best(q.scope, q.job.prompt)
	}
	to := s.slots.place(from, n)
	if to != from && n < minCopied {
		from, n = nil, 0
	}
	q.slot = to
	switch {
	case from == nil:
		s.lib.MemorySeqRm(s.memory, to.id, -1, -1)
	case from == to:
		s.lib.MemorySeqRm(s.memory, to.id, int32(n), -1)
		s.took(q, n)
	default:
		s.slots.touch(from, now)
		s.copyCells(q, from.id, n)
	}
	s.slots.take(to)
	if !s.keeps {
		return
	}
	q.lead = max(q.read, minCopied-1)
	for _, a := range s.active {
		if n := a.shares(q.job); n > q.lead {
			q.leader, q.lead = a, n
		}
	}
}

// copyCells gives q a copy of the first n cells of another slot.
func (s *scheduler) copyCells(q *sequence, from int32, n int) {
	// Between slots libllama copies all cells or, if asked for a part, ends
	// the process. The data follow with the next decode; what is removed here
	// is not among the cells then.
	s.lib.MemorySeqRm(s.memory, q.slot.id, -1, -1)
	s.lib.MemorySeqCp(s.memory, from, q.slot.id, -1, -1)
	s.lib.MemorySeqRm(s.memory, q.slot.id, int32(n), -1)
	s.took(q, n)
}

// took notes that q need not compute its first n tokens.
func (s *scheduler) took(q *sequence, n int) {
	q.cached += n - q.read
	q.read = n
	q.job.out.share(q.cached)
	s.dirty = true
}

// follow takes over what the leader has computed, and no longer waits for it.
func (s *scheduler) follow(q *sequence) {
	if n := min(q.lead, q.leader.read); n >= q.read+minCopied {
		s.copyCells(q, q.leader.slot.id, n)
	}
	q.leader = nil
}

// leave makes the slot of a sequence idle: it holds what the scope or everybody
// may take over, and nothing else, nor anything unless sound.
func (s *scheduler) leave(q *sequence, sound bool) {
	var tokens []inference.Token
	public := min(q.job.public, q.read)
	if public < minCopied {
		public = 0
	}
	if s.keeps && sound {
		tokens = q.inCache()
		n := public
		if q.scope != "" {
			n = len(tokens)
		}
		clear(tokens[n:])
		tokens = tokens[:n]
	}
	if len(tokens) < minShared {
		clear(tokens)
		tokens, public = nil, 0
	}
	s.trim(q.slot.id, len(tokens))
	s.slots.hold(q.slot, tokens, q.scope, public, time.Now())
}

// trim removes the cells of a slot from position n on.
func (s *scheduler) trim(id int32, n int) {
	if n == 0 {
		n = -1 // all: llama.h says that removing a whole sequence cannot fail
	}
	s.lib.MemorySeqRm(s.memory, id, int32(n), -1)
}

func (s *scheduler) trimAll(changed []*slot) {
	for _, c := range changed {
		s.trim(c.id, len(c.tokens))
	}
}

// forgetScope drops what is held for a scope, and what requests of it that run
// or wait would have left. mu is held.
func (s *scheduler) forgetScope(scope string) {
	if scope == "" {
		return
	}
	s.trimAll(s.slots.forget(scope))
	for _, j := range s.waiting {
		if j.req.CacheScope == scope {
			j.req.CacheScope = ""
		}
	}
	for _, q := range s.active {
		if q.scope == scope {
			q.scope = ""
			clear(q.tail)
			q.tail = nil
		}
	}
}
