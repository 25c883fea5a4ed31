package front

import (
	"sync"
	"time"
)

// buckets are the upper bounds of the histograms, in seconds: answers of small
// models take milliseconds, those of large ones minutes.
var buckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

// histogram counts durations.
type histogram struct {
	counts [16]uint64 // by bucket, the last for what is over all of them
	sum    float64    // seconds
}

func (h *histogram) observe(d time.Duration) {
	s := d.Seconds()
	i := 0
	for i < len(buckets) && s > buckets[i] {
		i++
	}
	h.counts[i]++
	h.sum += s
}

// outcome is what requests are counted by. Both are one of a few words: nothing
// that a client sends becomes a label.
type outcome struct{ endpoint, code string }

// perEndpoint is what is known of all requests to one endpoint.
type perEndpoint struct {
	in, out     uint64
	took, first histogram
}

// metrics are the front's own numbers. It is safe for concurrent use.
type metrics struct {
	mu        sync.Mutex
	requests  map[outcome]uint64
	endpoints map[string]*perEndpoint
	limits    map[string]uint64
	segments  uint64
	inFlight  int
	panics    uint64
	errors    uint64 // of connections, that net/http logs
	reloads   uint64 // of certificates that failed
}

func newMetrics() *metrics {
	return &metrics{requests: make(map[outcome]uint64), endpoints: make(map[string]*perEndpoint), limits: make(map[string]uint64)}
}

// count takes a request that has ended.
func (m *metrics) count(rec *record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.requests[outcome{rec.endpoint, rec.code}]++
	e := m.endpoints[rec.endpoint]
	if e == nil {
		e = &perEndpoint{}
		m.endpoints[rec.endpoint] = e
	}
	e.in += uint64(rec.in)
	e.out += uint64(rec.out)
	e.took.observe(rec.took)
	if rec.first > 0 {
		e.first.observe(rec.first)
	}
	m.segments += uint64(rec.segments)
}

func (m *metrics) limited(which string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limits[which]++
}

func (m *metrics) enter()         { m.add(&m.inFlight, 1) }
func (m *metrics) leave()         { m.add(&m.inFlight, -1) }
func (m *metrics) panicked()      { m.increment(&m.panics) }
func (m *metrics) failedToServe() { m.increment(&m.errors) }
func (m *metrics) failedReload()  { m.increment(&m.reloads) }

func (m *metrics) add(n *int, by int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n += by
}

func (m *metrics) increment(n *uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n++
}
