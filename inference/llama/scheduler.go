package llama

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// prefillShare is the most prompt tokens in a step that also continues
// answers: it bounds how long a new prompt holds them up.
const prefillShare = 128

// A scheduler runs the requests of one context. Everything below the mutex
// block belongs to the goroutine run, which alone calls libllama with the
// context.
type scheduler struct {
	queueLimit int
	stopped    chan struct{} // closed when run has returned

	mu      sync.Mutex
	work    sync.Cond // signals changes of waiting and closed
	waiting []*job
	running int
	closed  bool

	lib     *native.Lib
	vocab   native.Vocab
	nVocab  int32
	context native.Context
	memory  native.Memory
	batch   *batch
	slots   []*sequence // nil where free; the index is the sequence id
	age     uint64
	logger  *slog.Logger
}

func newScheduler(m *Model, c native.Context, batchSize int, opts Options) *scheduler {
	s := &scheduler{
		queueLimit: opts.QueueLimit,
		stopped:    make(chan struct{}),
		lib:        m.lib,
		vocab:      m.vocab,
		nVocab:     int32(m.info.VocabularySize),
		context:    c,
		memory:     m.lib.ContextMemory(c),
		batch:      newBatch(m.lib, batchSize),
		slots:      make([]*sequence, opts.MaxSequences),
		logger:     opts.Logger,
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.work.L = &s.mu
	go s.run()
	return s
}

// submit queues a job, or returns ErrOverloaded or ErrClosed.
func (s *scheduler) submit(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return inference.ErrClosed
	}
	if len(s.waiting) >= s.queueLimit && s.running+len(s.waiting) >= len(s.slots) {
		return inference.ErrOverloaded
	}
	s.waiting = append(s.waiting, j)
	s.work.Signal()
	return nil
}

// forget takes a job from the queue, if it is still there.
func (s *scheduler) forget(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, j); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
	}
}

// close ends all jobs and waits until the context is released.
func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.work.Signal()
	s.mu.Unlock()
	<-s.stopped
}

// run is the scheduler's goroutine.
func (s *scheduler) run() {
	// OpenMP keeps a team of threads for each thread that starts work.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.stopped)
	defer s.release()
	for s.admit() {
		s.dropCancelled()
		if err := s.step(); err != nil {
			s.logger.Error("inference step failed", "error", err)
			s.failAll(err)
			s.lib.MemoryClear(s.memory, true)
		}
	}
	s.failAll(inference.ErrClosed)
}

// admit waits for work and gives free slots to waiting jobs, first come first
// served. It returns false when the scheduler is closed, after failing the
// jobs that wait.
func (s *scheduler) admit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && s.running == 0 && len(s.waiting) == 0 {
		s.work.Wait()
	}
	if s.closed {
		for _, j := range s.waiting {
			j.out.fail(inference.ErrClosed)
		}
		s.waiting = nil
		return false
	}
	for i, slot := range s.slots {
		if slot == nil && len(s.waiting) > 0 {
			s.age++
			s.slots[i] = newSequence(s.lib, s.waiting[0], int32(i), s.age)
			s.waiting = slices.Delete(s.waiting, 0, 1)
			s.running++
		}
	}
	return true
}

func (s *scheduler) dropCancelled() {
	for _, q := range s.slots {
		if q != nil && q.job.ctx.Err() != nil {
			s.end(q, q.job.ctx.Err())
		}
	}
}

// step decodes one batch and samples from it.
func (s *scheduler) step() error {
	s.fill()
	if s.batch.len() == 0 {
		return nil
	}
	rc := s.lib.Decode(s.context, s.batch.raw)
	s.batch.clear()
	if rc != 0 {
		return fmt.Errorf("llama: decode failed with %d", rc)
	}
	for _, q := range s.slots {
		if q == nil || q.row < 0 {
			continue
		}
		row := q.row
		q.row = -1
		token := s.lib.SamplerSample(q.sampler, s.context, row)
		if token < 0 || token >= s.nVocab {
			return errors.New("llama: the sampler found no token")
		}
		if s.accept(q, token) {
			s.end(q, nil)
		}
	}
	return nil
}

// fill puts the next token of every running answer into the batch, then, the
// oldest first, as much of the prompts as fits.
func (s *scheduler) fill() {
	for _, q := range s.slots {
		if q != nil && q.read == len(q.job.prompt) {
			q.row = s.batch.add(q.next, q.pos, q.id, true)
			q.pos++
		}
	}
	room := s.batch.cap()
	if n := s.batch.len(); n > 0 {
		room = min(room, n+prefillShare)
	}
	var reading []*sequence
	for _, q := range s.slots {
		if q != nil && q.read < len(q.job.prompt) {
			reading = append(reading, q)
		}
	}
	slices.SortFunc(reading, func(a, b *sequence) int { return int(int64(a.age - b.age)) })
	for _, q := range reading {
		for q.read < len(q.job.prompt) && s.batch.len() < room {
			last := q.read == len(q.job.prompt)-1
			row := s.batch.add(int32(q.job.prompt[q.read]), q.pos, q.id, last)
			q.read++
			q.pos++
			if last {
				q.row = row
			}
		}
	}
}

// accept gives a sampled token to its job. It returns true at the end.
func (s *scheduler) accept(q *sequence, token int32) bool {
	if s.lib.VocabIsEOG(s.vocab, token) {
		q.finish("", nil, inference.FinishStop)
		return true
	}
	q.next = token
	q.generated++
	tokens := []inference.Token{inference.Token(token)}
	out, stopped := q.text.push(s.piece(token))
	switch {
	case stopped:
		q.finish(out, tokens, inference.FinishStopString)
	case q.generated == q.job.limit:
		q.finish(out, tokens, inference.FinishLength)
	default:
		q.job.out.put(inference.Chunk{Text: out, Tokens: tokens})
		return false
	}
	return true
}

// piece returns a token's bytes; control tokens have none.
func (s *scheduler) piece(token int32) []byte {
	buf := make([]byte, 64)
	n := s.lib.TokenToPiece(s.vocab, token, &buf[0], int32(len(buf)), 0, false)
	if n < 0 {
		buf = make([]byte, -n)
		n = s.lib.TokenToPiece(s.vocab, token, &buf[0], int32(len(buf)), 0, false)
	}
	return buf[:max(n, 0)]
}

// end frees a sequence: its cells are removed before another gets its slot.
func (s *scheduler) end(q *sequence, err error) {
	if err != nil {
		q.job.out.fail(err)
	}
	// Removing all of a sequence cannot fail, says llama.h; parts can.
	s.lib.MemorySeqRm(s.memory, q.id, -1, -1)
	s.lib.SamplerFree(q.sampler)
	q.text.clear()
	clear(q.job.prompt)
	s.slots[q.id] = nil
	s.mu.Lock()
	s.running--
	s.mu.Unlock()
}

func (s *scheduler) failAll(err error) {
	for _, q := range s.slots {
		if q != nil {
			s.end(q, err)
		}
	}
}

// release zeroes the key-value cache and frees the context.
func (s *scheduler) release() {
	s.lib.MemoryClear(s.memory, true)
	s.batch.free()
	s.lib.ContextFree(s.context)
}
