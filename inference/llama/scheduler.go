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
	readSince int // prompt tokens since the last step of answers
	active    []*sequence
	maxActive int
	slots     slots
	keeps     bool // slots may hold something when they are idle
	ttl       time.Duration
	dirty     bool // the cache has held something since it was zeroed
	idleSince time.Time
	logger    *slog.Logger
}

// forget asks for the prefixes of a scope to be dropped.
type forget struct {
	scope string
	done  chan struct{}
}

func newScheduler(m *Model, c native.Context, batchSize, sequences int, opts Options) *scheduler {
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
		chunk:      opts.PrefillChunk,
		maxActive:  opts.MaxSequences,
		ttl:        opts.CacheTTL,
		keeps:      opts.CacheSequences >= 0 && m.hasBeginnings(),
		logger:     opts.Logger,
	}
	for id := range sequences {
		s.slots.all = append(s.slots.all, &slot{id: int32(id)})
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	s.work.L = &s.mu
	go s.run()
	return s
}

// hasSpace returns ErrOverloaded or ErrClosed where submit would. It lets a
// request be refused before work is done for it.
func (s *scheduler) hasSpace() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.space()
}

func (s *scheduler) space() error {
	if s.closed {
		return inference.ErrClosed
	}
	if len(s.waiting) >= s.queueLimit && s.running+len(s.waiting) >= s.maxActive {
		s.stats.Refused++
		return inference.ErrOverloaded
	}
	return nil
}

// submit queues a job, or returns ErrOverloaded or ErrClosed.
func (s *scheduler) submit(j *job) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.space(); err != nil {
		clear(j.prompt)
		return err
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
		clear(j.prompt)
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
	select {
	case <-done:
	case <-s.stopped: // and everything is gone
	}
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
// closed, after failing the jobs that wait. While there is none it drops what
// nobody has used for long, and overwrites the key-value cache once it holds
// nothing that anyone may use.
func (s *scheduler) wait() bool {
	// Held throughout, so that nothing comes in that is not seen.
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if s.closed {
			for _, j := range s.waiting {
				j.fail(inference.ErrClosed)
				s.stats.Failed++
			}
			s.waiting = nil
			return false
		}
		s.tidy()
		if s.running > 0 || len(s.waiting) > 0 {
			return true
		}
		var alarm *time.Timer
		if d, ok := s.nextTidy(time.Now()); ok {
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

// tidy does what was asked with forget, and what time asks for. mu is held.
func (s *scheduler) tidy() {
	for _, f := range s.forgets {
		s.forgetScope(f.scope)
	}
	s.trimAll(s.slots.expire(time.Now(), s.ttl))
	s.gauge()
	switch now := time.Now(); {
	case s.running > 0 || len(s.waiting) > 0:
		s.idleSince = time.Time{}
	case s.idleSince.IsZero():
		s.idleSince = now
		fallthrough
	default:
		if s.dirty && s.stats.Prefixes == 0 && (len(s.forgets) > 0 || now.Sub(s.idleSince) >= zeroAfter) {
			s.zero()
		}
	}
	for _, f := range s.forgets {
		close(f.done)
	}
	s.forgets = nil
}

// zeroAfter is how long nothing has to run before the cache is overwritten. It
// can take a tenth of a second, which callers that ask one thing after the other
// would wait for each time.
const zeroAfter = time.Second

// nextTidy returns when tidy has something to do if nothing else happens.
func (s *scheduler) nextTidy(now time.Time) (d time.Duration, ok bool) {
	d, ok = s.slots.next(now, s.ttl)
	if !ok && s.dirty {
		return max(zeroAfter-now.Sub(s.idleSince), 0), true
	}
	return d, ok
}

// admit gives slots to waiting jobs, first come first served. A slot has cells
// for all that a job may need, so that none fails half way for lack of space.
func (s *scheduler) admit(now time.Time) {
	for {
		s.mu.Lock()
		var j *job
		if len(s.waiting) > 0 && len(s.active) < s.maxActive {
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

// start makes a job a sequence.
func (s *scheduler) start(j *job, now time.Time) {
	j.out.begin(now)
	q := &sequence{job: j, scope: j.req.CacheScope, row: -1, next: -1, text: newText(j.req.Stop)}
	s.settle(q, now)
	s.active = append(s.active, q)
	q.stop = context.AfterFunc(j.ctx, func() { s.cancelled(q) })
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
	s.leave(q, err == nil || q.job.ctx.Err() != nil)
	q.sampler.free()
	q.text.clear()
	clear(q.tail)
	s.active = slices.DeleteFunc(s.active, func(a *sequence) bool { return a == q })
	s.mu.Lock()
	s.running--
	s.stats.count(q, err)
	s.gauge()
	s.mu.Unlock()
	// Only now: whoever sees the end finds everything cleared and counted.
	if err != nil {
		q.job.fail(err)
	} else {
		clear(q.job.prompt)
		q.job.out.put(q.last)
	}
}

// failAll ends all sequences with an error and keeps nothing.
func (s *scheduler) failAll(err error) {
	for _, q := range s.active {
		q.leader = nil
	}
	for len(s.active) > 0 {
		s.end(s.active[0], err)
	}
	s.trimAll(s.slots.expire(time.Now(), 0))
}

// zero overwrites the key-value cache. No sequence is in use.
func (s *scheduler) zero() {
	s.lib.MemoryClear(s.memory, true)
	clear(s.scratch)
	s.dirty = false
}

// release zeroes the key-value cache and frees the context.
func (s *scheduler) release() {
	s.zero()
	s.batch.free()
	s.lib.ContextFree(s.context)
	s.abort.Free()
}
