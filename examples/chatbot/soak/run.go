package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
)

// result is what a run was, and what came of it.
type result struct {
	settings *settings
	machine  machine
	tally    *tally
	took     time.Duration
	trends   []trend
	answers  []int // by tenth of the run
	// before and after are when nobody asks, and settled how long after the load
	// the latter was.
	before, after map[series]float64
	settled       time.Duration
	kmsCalls      int64
	parent        scrape
}

// soak runs the pipeline under load. The error is that it could not be run, or
// that one of its processes is gone.
func (s *settings) soak(ctx context.Context, progress io.Writer) (*result, error) {
	r := &result{settings: s, machine: thisMachine()}
	p, err := startPipeline(ctx, s)
	if err != nil {
		return nil, err
	}
	defer p.close()
	// What a first question makes for good is no leak.
	if err := first(ctx, p, s.timeout); err != nil {
		return nil, fmt.Errorf("the first question: %w", err)
	}
	p.quiesce()
	if r.before, _, err = p.look(ctx); err != nil {
		return nil, err
	}
	samples, err := r.load(ctx, p, progress)
	if err != nil {
		return nil, err
	}
	r.kmsCalls = p.kmsCalls.Load()
	if n := len(judged(samples, s.duration)); n < minSamples/2 {
		return nil, fmt.Errorf("%d looks at the processes after the warm-up are too few to judge: the machine is too slow for -every %v", n, s.every)
	}
	for _, one := range allSeries() {
		r.trends = append(r.trends, judge(one, samples, s.duration))
	}
	r.answers = answersByTenth(samples, s.duration)
	return r, r.settle(ctx, p, progress)
}

// first asks once, with a client that is not used again.
func first(ctx context.Context, p *pipeline, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	c, err := p.client()
	if err != nil {
		return err
	}
	return exact.Receive(c.Ask(ctx, exact.Question(exact.Names[0])), exact.Answer(exact.Names[0]), nil)
}

// load has all clients ask for the run's duration, or somewhat longer, and looks at the processes
// meanwhile.
func (r *result) load(ctx context.Context, p *pipeline, progress io.Writer) ([]sample, error) {
	s := r.settings
	samples := make([]sample, 0, s.duration/s.every+2)
	begin := time.Now()
	r.tally = newTally(begin, s.duration)
	// No deadline: questions would carry it to the enclave, and fail with it.
	loaded, cancel := context.WithCancel(ctx)
	defer cancel()
	wait, err := startClients(loaded, s, p, r.tally)
	if err != nil {
		return nil, err
	}
	defer func() {
		cancel()
		wait()
	}()
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	for {
		select {
		case <-loaded.Done():
			wait()
			r.took = time.Since(begin)
			return samples, ctx.Err()
		case <-tick.C:
		}
		at := time.Since(begin)
		values, m, err := p.look(ctx)
		if err != nil {
			return nil, err
		}
		r.tally.mu.Lock()
		answers, wrong := total(r.tally.answered), r.tally.wrong+total(r.tally.failed)
		answered := r.tally.all()
		r.tally.mu.Unlock()
		r.parent = m
		samples = append(samples, sample{at, values, answers})
		// A slow machine gets as long as one question may take, once more, for what
		// no client of some kind has come to.
		if at >= s.duration && (answered || at >= s.duration+s.timeout) {
			cancel()
		}
		if len(samples)%12 == 0 {
			fmt.Fprintf(progress, "%v: %d answers, %d wrong or failed\n", at.Round(time.Second), answers, wrong)
		}
	}
}

// settle waits until all is as idle as before, or not any more.
func (r *result) settle(ctx context.Context, p *pipeline, progress io.Writer) error {
	fmt.Fprintf(progress, "waiting up to %v for connections to close\n", r.settings.settle)
	ended := time.Now()
	for {
		p.quiesce()
		var err error
		if r.after, r.parent, err = p.look(ctx); err != nil {
			return err
		}
		r.settled = time.Since(ended)
		if len(notIdle(r.before, r.after)) == 0 || r.settled >= r.settings.settle {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// answersByTenth is how many answers came in each tenth of the run.
func answersByTenth(all []sample, duration time.Duration) []int {
	counts := make([]int, 10)
	for i := range counts {
		until := time.Duration(i+1) * duration / 10
		for _, one := range all {
			if one.at <= until {
				counts[i] = one.answers
			}
		}
	}
	for i := len(counts) - 1; i > 0; i-- {
		counts[i] -= counts[i-1]
	}
	return counts
}

// leastKeys is how many of the enclave's keys clients must have seen: half of
// those that it makes, since clients go on with a key for some minutes.
func (r *result) leastKeys() int { return 1 + int(r.settings.duration/(2*rotate))/2 }

// problems are what must not be.
func (r *result) problems() []string {
	t := r.tally
	var all []string
	problem := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if t.wrong > 0 {
		problem("%d answers or refusals were wrong", t.wrong)
	}
	if n := total(t.failed); n > 0 {
		problem("%d errors that nobody caused", n)
	}
	for _, e := range t.examples {
		problem("for example, %s", e)
	}
	for _, k := range kinds {
		if t.answered[k] == 0 {
			problem("no answers for the clients that are %s", k)
		}
	}
	if t.cancelled == 0 || len(t.refused) == 0 {
		problem("nothing was cancelled, or nothing refused")
	}
	if n := r.leastKeys(); len(t.keys) < n {
		problem("%d keys of the enclave were seen, at least %d were due", len(t.keys), n)
	}
	for _, x := range r.trends {
		if !x.flat() {
			problem("%s: %s grew by %s, at most %s", x.part, x.quantity, inUnits(x.quantity, x.grown), inUnits(x.quantity, x.most))
		}
	}
	all = append(all, notIdle(r.before, r.after)...)
	for _, family := range mustBeZero {
		if n := r.parent.sum(family); n != 0 {
			problem("the parent counts %.0f in %s", n, family)
		}
	}
	return all
}

// mustBeZero are metrics of the parent that nothing here may move.
var mustBeZero = []string{
	"nitroseal_parent_panics_total", "nitroseal_parent_enclave_set_aside_total",
	"nitroseal_parent_egress_refused_total", "nitroseal_parent_egress_dial_errors_total",
}
