package llama

import (
	"context"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// A scheduler runs the requests of one context. Everything below the mutex
// block belongs to the goroutine run, which alone calls libllama with the
// context.
type scheduler struct {
	queueLimit int
	stopped    chan struct{} // closed when run has returned
	abort      *native.AbortFlag

	mu      sync.Mutex
	work    sync.Cond // signals changes of waiting, forgets and closed
	waiting []*job
	forgets []forget
	running int
	live    int // sequences of the step under way that are not cancelled
	closed  bool
	stats   Stats

	lib       *native.Lib
	words     *vocabulary
	nVocab    int
	context   native.Context
	memory    native.Memory
	batch     *batch
	scratch   []native.Candidate
	chunk     int // see Options.PrefillChunk
	active    []*sequence
	maxActive int
	free      []int32 // sequence ids
	cells     int     // of the key-value cache
	reserved  int     // cells that the active sequences may come to need
	kept      prefixes
	dirty     bool // the cache has held something since it was zeroed
	logger    *slog.Logger
}

// forget asks for the prefixes of a scope to be dropped.
type forget struct {
	scope string
	done  chan struct{}
}

func newScheduler(m *Model, c native.Context, batchSize, sequences, cells int, opts Options) *scheduler {
	s := &scheduler{
		queueLimit: opts.QueueLimit,
		stopped:    make(chan struct{}),
		abort:      m.lib.NewAbortFlag(c),
		lib:        m.lib,
		words:      &vocabulary{lib: m.lib, vocab: m.vocab, n: m.info.VocabularySize},
		nVocab:     m.info.VocabularySize,
		context:    c,
		memory:     m.lib.ContextMemory(c),
		batch:      newBatch(m.lib, batchSize),
		chunk:      min(opts.PrefillChunk, batchSize),
		maxActive:  opts.MaxSequences,
		cells:      cells,
		kept:       prefixes{limit: opts.CachedPrefixes, ttl: opts.CacheTTL},
		logger:     opts.Logger,
	}
	for id := range sequences {
		s.free = append(s.free, int32(sequences-1-id))
	}
	if m.lib.ModelIsRecurrent(m.model) || m.lib.ModelIsHybrid(m.model) {
		// Their state is of the last token only: it has no prefixes.
		s.kept.limit = 0
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
	if len(s.waiting) >= s.queueLimit && s.running+len(s.waiting) >= s.maxActive {
		s.stats.Refused++
		return inference.ErrOverloaded
	}
	s.stats.Requests++
	s.waiting = append(s.waiting, j)
	s.work.Signal()
	return nil
}

// remove takes a job from the queue, if it is still there.
func (s *scheduler) remove(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, j); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		s.stats.Cancelled++
		// The one behind it may need less space.
		s.work.Signal()
	}
}

// forget drops what is kept for a scope and returns when it is gone.
func (s *scheduler) forget(scope string) {
	done := make(chan struct{})
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		<-s.stopped
		return
	}
	s.forgets = append(s.forgets, forget{scope, done})
	s.work.Signal()
	s.mu.Unlock()
	<-done
}

// close ends all jobs and waits until the context is released.
func (s *scheduler) close() {
	s.mu.Lock()
	s.closed = true
	s.abort.Set()
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
	for s.wait() {
		s.admit(time.Now())
		s.dropCancelled()
		if err := s.step(); err != nil {
			s.logger.Error("inference step failed", "error", err)
			s.failAll(err)
			s.zero()
		}
	}
	s.failAll(inference.ErrClosed)
}

// wait returns true when there is work, and false when the scheduler is
// closed. While there is none it drops prefixes whose time has come, and
// overwrites the key-value cache once it holds nothing that anyone may use.
func (s *scheduler) wait() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		forgets := s.forgets
		s.forgets = nil
		if s.closed {
			for _, j := range s.waiting {
				j.out.fail(inference.ErrClosed)
				s.stats.Failed++
			}
			s.waiting = nil
		}
		s.mu.Unlock()
		for _, f := range forgets {
			s.forgetScope(f.scope)
		}
		s.releaseAll(s.kept.expire(time.Now()))
		s.mu.Lock()
		s.gauge()
		if s.closed {
			for _, f := range forgets {
				close(f.done)
			}
			return false
		}
		idle := s.running == 0 && len(s.waiting) == 0
		if idle && s.dirty && len(s.kept.list) == 0 {
			s.mu.Unlock()
			s.zero()
			s.mu.Lock()
		}
		for _, f := range forgets {
			close(f.done)
		}
		if s.closed || len(s.forgets) > 0 {
			continue
		}
		if s.running > 0 || len(s.waiting) > 0 {
			return true
		}
		var alarm *time.Timer
		if d, ok := s.kept.next(time.Now()); ok {
			alarm = time.AfterFunc(d, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.work.Signal()
			})
		}
		s.work.Wait()
		if alarm != nil {
			alarm.Stop()
		}
	}
}

// admit gives sequences to waiting jobs, first come first served: a job for
// which there is no space holds up those behind it, so that it is not
// overtaken for ever.
func (s *scheduler) admit(now time.Time) {
	for {
		s.mu.Lock()
		var j *job
		if len(s.waiting) > 0 && len(s.active) < s.maxActive && s.reserved+s.waiting[0].cells() <= s.cells {
			j = s.waiting[0]
			s.waiting = slices.Delete(s.waiting, 0, 1)
			s.running++
		}
		s.mu.Unlock()
		if j == nil {
			return
		}
		s.start(j, now)
	}
}

// start makes a job a sequence. Kept prefixes give way to it, the longest
// unused first, after it has got its share of them.
func (s *scheduler) start(j *job, now time.Time) {
	j.out.begin(now)
	q := &sequence{job: j, scope: j.req.CacheScope, row: -1, next: -1, id: s.free[len(s.free)-1]}
	s.free = s.free[:len(s.free)-1]
	s.active = append(s.active, q)
	s.reserved += j.cells()
	q.stop = context.AfterFunc(j.ctx, func() { s.cancelled(q) })
	if s.kept.limit > 0 {
		s.share(q, now)
	}
	for s.reserved+s.kept.cells > s.cells {
		s.releaseID(s.kept.drop(s.kept.oldest()))
	}
	q.text = newText(j.req.Stop)
	q.sampler = newSampler(s.lib, s.words, &j.req, j.grammar)
	q.sampler.prime(j.prompt)
	s.mu.Lock()
	s.gauge()
	s.mu.Unlock()
}

// cancelled is called when a job's context ends. A step is aborted only if
// nobody else is in it: else one could make others compute theirs again and
// again.
func (s *scheduler) cancelled(q *sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q.live {
		q.live = false
		if s.live--; s.live == 0 {
			s.abort.Set()
		}
	}
}

func (s *scheduler) dropCancelled() {
	for _, q := range slices.Clone(s.active) {
		if err := q.job.ctx.Err(); err != nil {
			s.end(q, err)
		}
	}
}

// end frees a sequence, or keeps its cells for its scope. err is nil if it has
// finished.
func (s *scheduler) end(q *sequence, err error) {
	q.stop()
	for _, f := range s.active {
		if f.leader == q {
			s.follow(f)
		}
	}
	if !s.keep(q) {
		s.releaseID(q.id)
	}
	q.sampler.free()
	q.text.clear()
	clear(q.tail)
	s.active = slices.DeleteFunc(s.active, func(a *sequence) bool { return a == q })
	s.reserved -= q.job.cells()
	s.mu.Lock()
	s.running--
	s.stats.count(q, err)
	s.gauge()
	s.mu.Unlock()
	clear(q.job.prompt)
	// Only now: whoever sees the end finds everything cleared and counted.
	if err != nil {
		q.job.out.fail(err)
	} else {
		q.job.out.put(q.last)
	}
}

// failAll ends all sequences with an error and keeps nothing.
func (s *scheduler) failAll(err error) {
	for _, q := range s.active {
		q.scope, q.leader = "", nil
	}
	for len(s.active) > 0 {
		s.end(s.active[0], err)
	}
	for len(s.kept.list) > 0 {
		s.releaseID(s.kept.drop(s.kept.oldest()))
	}
}

// releaseID removes a sequence's cells before another may get its id.
func (s *scheduler) releaseID(id int32) {
	// Removing all of a sequence cannot fail, says llama.h; parts can.
	s.lib.MemorySeqRm(s.memory, id, -1, -1)
	s.free = append(s.free, id)
}

func (s *scheduler) releaseAll(ids []int32) {
	for _, id := range ids {
		s.releaseID(id)
	}
}

// zero overwrites the key-value cache. No sequence is in use.
func (s *scheduler) zero() {
	s.lib.MemoryClear(s.memory, true)
	s.dirty = false
}

// release zeroes the key-value cache and frees the context.
func (s *scheduler) release() {
	s.zero()
	clear(s.scratch)
	s.batch.free()
	s.lib.ContextFree(s.context)
	s.abort.Free()
}
