package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
)

// stage is what a cell is played on: a pipeline of processes, or one in here.
type stage interface {
	client(edit func(*chat.Options)) (*chat.Client, error)
	quiesce()
	usage() map[string]used
}

// result is what came of a cell.
type result struct {
	cell      cell
	good      int
	errors    map[class]int
	recovered time.Duration
	took      time.Duration
	// problems are what must not be.
	problems []string
}

// Bounds of the parts of a cell that have nothing to do with its fault.
const (
	warmUp    = 30 * time.Second // until each client has an answer
	biteLimit = 15 * time.Second // until the fault is felt
	settle    = 10 * time.Second // until all that it took is given back
)

// runCell plays one cell and returns what came of it. A stage that a cell has
// left broken is not used again.
func runCell(ctx context.Context, w *worlds, c cell) (r result) {
	r = result{cell: c}
	if c.skip != "" {
		return r
	}
	began := time.Now()
	defer func() { r.took = time.Since(began) }()
	on, inject, err := w.stageFor(ctx, c)
	if err != nil {
		r.problem("starting: %v", err)
		return r
	}
	play(ctx, on, inject, w.settings.timeout, &r)
	if len(r.problems) > 0 {
		w.drop(on)
	}
	return r
}

func (r *result) problem(format string, args ...any) {
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

// play has the clients ask, makes the fault, mends it and looks at what came of
// it.
func play(ctx context.Context, s stage, inject func(context.Context) (func() error, error), timeout time.Duration, r *result) {
	s.quiesce()
	before := measured(s)
	t := newTally()
	stop, err := startAskers(ctx, s, &r.cell, timeout, t)
	if err != nil {
		r.problem("clients: %v", err)
		return
	}
	if !within(ctx, warmUp, func(ctx context.Context) bool { return t.wait(ctx, t.allAnswered) }) {
		r.problem("no answers before the fault")
	}
	t.mu.Lock()
	for k, n := range t.errors {
		r.problem("%d × %s before the fault: %v", n, k, t.examples[k])
	}
	t.mu.Unlock()
	if len(r.problems) == 0 {
		breakAndMend(ctx, inject, t, r)
	}
	stop()
	judge(t, r)
	s.quiesce()
	if leaked := settled(ctx, s, before); len(r.problems) == 0 {
		for _, l := range leaked {
			r.problem("leak: %s", l)
		}
	}
}

// startAskers starts the clients and returns what ends them.
func startAskers(ctx context.Context, s stage, c *cell, timeout time.Duration, t *tally) (stop func(), err error) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	stop = func() {
		cancel()
		wg.Wait()
	}
	for _, name := range exact.Names {
		client := func() (*chat.Client, error) { return s.client(c.edit) }
		if !c.fresh {
			one, err := client()
			if err != nil {
				stop()
				return nil, err
			}
			client = func() (*chat.Client, error) { return one, nil }
		}
		a := &asker{name: name, timeout: timeout, client: client, tally: t}
		wg.Go(func() { a.run(ctx) })
	}
	return stop, nil
}

// breakAndMend makes the fault, waits until it is felt, mends it and waits until
// all clients have answers again.
func breakAndMend(ctx context.Context, inject func(context.Context) (func() error, error), t *tally, r *result) {
	c := &r.cell
	heal, err := inject(ctx)
	if err != nil {
		r.problem("making the fault: %v", err)
		return
	}
	select {
	case <-time.After(c.holdFor()):
	case <-ctx.Done():
	}
	if len(c.must) > 0 && !within(ctx, biteLimit, func(ctx context.Context) bool {
		return t.wait(ctx, func() bool { return t.felt(c.must) })
	}) {
		r.problem("the fault was hardly felt: fewer than %d errors of %v", enough, c.must)
	}
	if err := heal(); err != nil {
		r.problem("mending: %v", err)
		return
	}
	healed := time.Now()
	t.heal(healed)
	if !within(ctx, c.bound(), func(ctx context.Context) bool { return t.wait(ctx, t.allAnswered) }) {
		r.problem("not all clients have answers %v after mending", c.bound())
		return
	}
	t.mu.Lock()
	for _, at := range t.first {
		r.recovered = max(r.recovered, at.Sub(healed))
	}
	again := t.good + len(exact.Names)
	t.mu.Unlock()
	// What works once must go on working.
	if !within(ctx, c.bound(), func(ctx context.Context) bool {
		return t.wait(ctx, func() bool { return t.good >= again })
	}) {
		r.problem("answers stopped again after mending")
	}
}

// allAnswered reports whether each client has an answer to a question of this
// phase. The lock must be held.
func (t *tally) allAnswered() bool { return len(t.first) == len(exact.Names) }

// judge looks at what all questions came to.
func judge(t *tally, r *result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.good, r.errors = t.good, t.errors
	for _, w := range t.wrong {
		r.problem("%s", w)
	}
	for _, l := range t.late {
		r.problem("no end at the deadline: %s", l)
	}
	for _, l := range t.relapses {
		r.problem("an error after mending, behind an answer: %s", l)
	}
	for k, n := range t.errors {
		if !r.cell.allows(k) {
			r.problem("%d × %s, which this fault must not cause: %v", n, k, t.examples[k])
		}
	}
}

// within calls f with a context that ends after d.
func within(ctx context.Context, d time.Duration, f func(context.Context) bool) bool {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return f(ctx)
}

// answered asks once, and reports what is wrong with that.
func answered(ctx context.Context, s stage, name string) error {
	c, err := s.client(nil)
	if err != nil {
		return err
	}
	return exact.Receive(c.Ask(ctx, exact.Question(name)), exact.Answer(name), nil)
}

// measured is what all parts use now, this process included.
func measured(s stage) map[string]used {
	all := s.usage()
	all["client"] = used{goroutines: runtime.NumGoroutine()}
	return all
}

// settled waits until all parts use no more than before, and returns what is
// over it in the end.
func settled(ctx context.Context, s stage, before map[string]used) []string {
	deadline := time.Now().Add(settle)
	for {
		over := leaks(before, measured(s))
		if len(over) == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return over
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// worlds keeps the stages, each started when it is first wanted.
type worlds struct {
	settings  *settings
	trusted   *authority
	dir       string
	pipelines map[stageKey]*pipeline
	inside    *inside
}

type stageKey struct {
	kind     kind
	enclaves int
}

// newWorlds makes the authority that this process and the enclaves trust. The
// chat client trusts the system's roots, so this process is given others.
func newWorlds(s *settings) (_ *worlds, err error) {
	w := &worlds{settings: s, pipelines: map[stageKey]*pipeline{}}
	if w.trusted, err = newAuthority(); err != nil {
		return nil, err
	}
	if w.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return nil, err
	}
	roots := filepath.Join(w.dir, "roots.pem")
	if err := errors.Join(os.WriteFile(roots, w.trusted.caPEM, 0o600), os.Setenv("SSL_CERT_FILE", roots)); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

// stageFor returns the stage that a cell is for, and how to make its fault there.
func (w *worlds) stageFor(ctx context.Context, c cell) (stage, func(context.Context) (func() error, error), error) {
	if c.inside != nil {
		if w.inside == nil {
			var err error
			if w.inside, err = newInside(ctx); err != nil {
				return nil, nil, err
			}
			// What a first question makes for good is no leak.
			if err := answered(ctx, w.inside, exact.Names[0]); err != nil {
				return nil, nil, err
			}
		}
		in := w.inside
		return in, func(ctx context.Context) (func() error, error) { return c.inside(ctx, in) }, nil
	}
	if c.inject == nil {
		return nil, nil, errors.New("the cell has no fault")
	}
	key := stageKey{c.kind, max(1, c.enclaves)}
	p := w.pipelines[key]
	if p == nil {
		var err error
		if p, err = startPipeline(ctx, w.settings.chatbot, w.trusted, key.kind, key.enclaves); err != nil {
			return nil, nil, err
		}
		w.pipelines[key] = p
		if err := answered(ctx, p, exact.Names[0]); err != nil {
			return nil, nil, err
		}
	}
	return p, func(ctx context.Context) (func() error, error) { return c.inject(ctx, p) }, nil
}

// drop ends a stage that is not to be used again.
func (w *worlds) drop(s stage) {
	for key, p := range w.pipelines {
		if s == stage(p) {
			w.end(p)
			delete(w.pipelines, key)
		}
	}
	if w.inside != nil && s == stage(w.inside) {
		w.inside.close()
		w.inside = nil
	}
}

// end stops a pipeline, and says where its logs are if they are to be kept.
func (w *worlds) end(p *pipeline) {
	p.close(w.settings.logs)
	if w.settings.logs {
		fmt.Fprintln(os.Stderr, "        logs:", p.dir)
	}
}

func (w *worlds) close() {
	for _, p := range w.pipelines {
		w.end(p)
	}
	if w.inside != nil {
		w.inside.close()
	}
	os.RemoveAll(w.dir)
}
