package llama

import (
	"fmt"
	"slices"
	"time"
	"unsafe"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// prefillEnough is the number of prompt tokens in a step at which the next
// prompt is left for the next step. A step of that many computes as many
// tokens a second as a longer one, and the first prompt's answer begins
// sooner.
const prefillEnough = 32

// Results of llama_decode.
const (
	decodeOK      = 0
	decodeAborted = 2
)

// step decodes one batch and samples from it.
func (s *scheduler) step() error {
	s.fill()
	if s.batch.len() == 0 {
		return nil
	}
	began := time.Now()
	s.enter()
	s.dirty = true
	rc := s.lib.Decode(s.context, s.batch.raw)
	aborted := s.exit(rc)
	s.batch.clear()
	if aborted {
		// All in it are cancelled, or the scheduler is closing.
		return nil
	}
	if rc != decodeOK {
		return fmt.Errorf("llama: decode failed with %d", rc)
	}
	var prompts, sampled uint64
	for _, q := range slices.Clone(s.active) {
		if q.row >= 0 && q.put == 0 {
			q.decoded++
		}
		q.read += q.put
		prompts += uint64(q.put)
		q.put = 0
		if q.row < 0 {
			continue
		}
		row := q.row
		q.row = -1
		sampled++
		if done, err := s.sample(q, row); done || err != nil {
			s.end(q, err)
		}
	}
	s.mu.Lock()
	s.stats.step(prompts, sampled, time.Since(began))
	s.mu.Unlock()
	return nil
}

// enter notes who is in the step, for cancelled.
func (s *scheduler) enter() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return // and the flag is set
	}
	s.abort.Clear()
	s.live = 0
	for _, q := range s.active {
		q.live = (q.put > 0 || q.row >= 0) && q.job.ctx.Err() == nil
		if q.live {
			s.live++
		}
	}
	if s.live == 0 {
		s.abort.Set()
	}
}

// exit ends what enter began, and says whether the step was aborted.
func (s *scheduler) exit(rc int32) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	aborted := rc == decodeAborted && (s.closed || s.live == 0)
	s.live = 0
	for _, q := range s.active {
		q.live = false
		if aborted {
			q.put, q.row = 0, -1
		}
	}
	return aborted
}

// fill makes the batch of a step: of prompts, or of the next tokens of the
// answers under way. libllama would compute them apart even in one batch, since
// it computes sequences together only as far as they have equally many tokens.
func (s *scheduler) fill() {
	running := 0
	for _, q := range s.active {
		if l := q.leader; l != nil && l.read >= q.lead {
			s.follow(q)
		}
		if !q.reading() {
			running++
		}
	}
	room := s.batch.cap()
	if running > 0 {
		room = min(room, s.chunk-s.readSince)
	}
	if s.plan(room) > 0 {
		s.addPrompts()
		s.readSince += s.batch.len()
		return
	}
	s.readSince = 0
	for _, q := range s.byNumber() {
		if !q.reading() {
			q.row = s.batch.add(q.next, int32(q.read+q.decoded), q.slot.id, true)
		}
	}
}

// plan says how much of which prompts comes next, the oldest first, and returns
// the sum, which is at most room.
func (s *scheduler) plan(room int) int {
	sum := 0
	for _, q := range s.active {
		if q.reading() && q.leader == nil && sum < prefillEnough {
			q.put = max(min(len(q.job.prompt)-q.read, room-sum), 0)
			sum += q.put
		}
	}
	return sum
}

// addPrompts puts what was planned into the batch.
func (s *scheduler) addPrompts() {
	for _, q := range s.byNumber() {
		for i := range q.put {
			at := q.read + i
			last := at == len(q.job.prompt)-1
			row := s.batch.add(int32(q.job.prompt[at]), int32(at), q.slot.id, last)
			if last {
				q.row = row
			}
		}
	}
}

// byNumber returns the active sequences in the order of their slots, which
// libllama wants of those that it is to compute together.
func (s *scheduler) byNumber() []*sequence {
	return slices.SortedFunc(slices.Values(s.active), func(a, b *sequence) int { return int(a.slot.id - b.slot.id) })
}

// sample takes the next token of a sequence from a row of the step. done is
// true at the end of the answer.
func (s *scheduler) sample(q *sequence, row int32) (done bool, err error) {
	p := s.lib.LogitsAt(s.context, row)
	if p == nil {
		return false, fmt.Errorf("llama: libllama has no logits of row %d", row)
	}
	logits := unsafe.Slice(p, s.nVocab)
	defer clear(logits) // they tell what was generated
	if s.scratch == nil && (q.sampler.chain != 0 || q.sampler.constrained) {
		s.scratch = make([]native.Candidate, s.nVocab)
	}
	token, err := q.sampler.sample(logits, s.scratch)
	if err != nil {
		return false, err
	}
	if s.words.ends(token) {
		q.last = q.finish(inference.Chunk{}, inference.FinishStop)
		return true, nil
	}
	q.sampler.accept(token)
	q.next = token
	q.generated++
	q.remember(token)
	c := inference.Chunk{Tokens: []inference.Token{inference.Token(token)}}
	if q.job.req.LogProbs {
		c.LogProbs = []inference.TokenLogProbs{logProbs(logits, token, min(q.job.req.TopLogProbs, s.nVocab), s.words.bytes)}
	}
	var stopped bool
	c.Text, stopped = q.text.push(s.words.bytes(token))
	switch {
	case stopped:
		q.last = q.finish(c, inference.FinishStopString)
	case q.generated == q.job.limit:
		q.last = q.finish(c, inference.FinishLength)
	default:
		q.job.out.put(c)
		return false, nil
	}
	return true, nil
}
