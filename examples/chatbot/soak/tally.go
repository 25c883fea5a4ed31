package main

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"
)

// fifths is in how many parts of the run latencies are told apart.
const fifths = 5

// maxExamples bounds how many of the things that must not be are kept.
const maxExamples = 5

// tally is what came of all questions. It takes the same memory however many
// there are, so that counting looks like no leak. It is safe for concurrent use.
type tally struct {
	begin    time.Time
	duration time.Duration

	mu        sync.Mutex
	answered  map[string]int // by kind of client
	cancelled int
	attested  int // by new clients
	refused   map[string]int
	tokens    int
	keys      map[string]bool
	latency   [fifths]latencies
	wrong     int
	failed    map[string]int // errors that nobody caused, by kind of client
	examples  []string
}

func newTally(begin time.Time, duration time.Duration) *tally {
	return &tally{
		begin: begin, duration: duration,
		answered: map[string]int{}, refused: map[string]int{}, keys: map[string]bool{}, failed: map[string]int{},
	}
}

// answer takes a whole answer that was right.
func (t *tally) answer(kind, key string, began, ended time.Time, tokens int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.answered[kind]++
	t.tokens += tokens
	t.keys[key] = true
	part := int(fifths * float64(ended.Sub(t.begin)) / float64(t.duration))
	t.latency[min(max(part, 0), fifths-1)].add(ended.Sub(began))
}

func (t *tally) cancel() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cancelled++
}

func (t *tally) attest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.attested++
}

// all reports whether clients of every kind have had an answer, and one was
// cancelled and one refused. The lock must be held, or the load be over.
func (t *tally) all() bool {
	for _, k := range kinds {
		if t.answered[k] == 0 {
			return false
		}
	}
	return t.cancelled > 0 && len(t.refused) > 0
}

// refuse takes something that was refused as it must be.
func (t *tally) refuse(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused[what]++
}

// mismatch takes an answer, or a refusal, that is another than it must be.
func (t *tally) mismatch(kind string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong++
	t.example(kind, err)
}

// fail takes an error where there must be none.
func (t *tally) fail(kind string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed[kind]++
	t.example(kind, err)
}

// example keeps an error, if there is room. The lock must be held.
func (t *tally) example(kind string, err error) {
	if len(t.examples) < maxExamples {
		t.examples = append(t.examples, fmt.Sprintf("%s: %v", kind, err))
	}
}

// total is the sum of counts.
func total(counts map[string]int) (n int) {
	for _, c := range counts {
		n += c
	}
	return n
}

// latencies are durations in buckets, each 2 % wider than the one before, from
// 100 µs up to five minutes.
type latencies struct {
	buckets [760]int
	n       int
	max     time.Duration
}

const (
	leastLatency  = 100 * time.Microsecond
	latencyGrowth = 1.02
)

func (l *latencies) add(d time.Duration) {
	i := int(math.Ceil(math.Log(float64(max(d, leastLatency))/float64(leastLatency)) / math.Log(latencyGrowth)))
	l.buckets[min(i, len(l.buckets)-1)]++
	l.n++
	l.max = max(l.max, d)
}

// quantile is at most 2 % more than the true one.
func (l *latencies) quantile(q float64) time.Duration {
	rank := min(int(q*float64(l.n)), l.n-1)
	for i, n := range l.buckets {
		if rank -= n; rank < 0 {
			return min(l.max, time.Duration(float64(leastLatency)*math.Pow(latencyGrowth, float64(i))))
		}
	}
	return l.max
}

// median of some numbers, which must not be none.
func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
