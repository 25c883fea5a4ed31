package llama

import (
	"slices"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// share lets a new sequence take over what has been computed of its prompt: by
// an earlier request, whose cells are kept, or by one that runs. Cells are not
// copied: they come to belong to both sequences.
func (s *scheduler) share(q *sequence, now time.Time) {
	if p, n := s.kept.best(q.scope, q.job.prompt); p != nil {
		s.kept.touch(p, now)
		s.takeOver(q, p.seq, n)
	}
	q.lead = max(q.read, minShared-1)
	for _, a := range s.active {
		if a == q {
			continue
		}
		if n := a.shares(q.job); n > q.lead {
			q.leader, q.lead = a, n
		}
	}
}

// takeOver gives q the cells of another sequence up to position n.
func (s *scheduler) takeOver(q *sequence, from int32, n int) {
	if n <= q.read {
		return
	}
	s.lib.MemorySeqCp(s.memory, from, q.id, int32(q.read), int32(n))
	q.cached += n - q.read
	q.read = n
	q.job.out.share(q.cached)
	s.dirty = true
}

// follow takes over what the leader has computed, and no longer waits for it.
func (s *scheduler) follow(q *sequence) {
	s.takeOver(q, q.leader.id, min(q.lead, q.leader.read))
	q.leader = nil
}

// keep keeps the cells of a sequence that ends, if its scope wants them. It
// returns false if the caller has to release them.
func (s *scheduler) keep(q *sequence) bool {
	if q.scope == "" || s.kept.limit == 0 {
		return false
	}
	tokens := q.inCache()
	now := time.Now()
	if len(tokens) < minShared || s.kept.covers(q.scope, false, tokens, now) {
		clear(tokens)
		return false
	}
	s.releaseAll(s.kept.add(&prefix{scope: q.scope, tokens: tokens, seq: q.id}, now))
	return true
}

// publish keeps the public prefix of a sequence that has read it.
func (s *scheduler) publish(q *sequence) {
	if q.published || q.job.public < minShared || q.read < q.job.public || s.kept.limit == 0 {
		return
	}
	q.published = true
	now := time.Now()
	tokens := q.job.prompt[:q.job.public]
	if s.kept.covers("", true, tokens, now) || len(s.free) == 0 {
		return
	}
	for s.reserved+s.kept.cells+len(tokens) > s.cells {
		old := s.kept.oldest()
		if old == nil {
			return
		}
		s.releaseID(s.kept.drop(old))
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.lib.MemorySeqCp(s.memory, q.id, id, 0, int32(len(tokens)))
	s.releaseAll(s.kept.add(&prefix{public: true, tokens: slices.Clone(tokens), seq: id}, now))
}

// forgetScope drops what is kept for a scope, and what running requests of it
// would have left.
func (s *scheduler) forgetScope(scope string) {
	if scope == "" {
		return
	}
	s.releaseAll(s.kept.forget(scope))
	for _, q := range s.active {
		if q.scope == scope {
			q.scope = ""
			clear(q.tail)
			q.tail = nil
		}
	}
}

// remember notes a sampled token for the scope.
func (q *sequence) remember(token int32) {
	if q.scope != "" {
		q.tail = append(q.tail, inference.Token(token))
	}
}
