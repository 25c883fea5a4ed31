package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
)

// parts are the processes, in the order of the report.
var parts = []string{"client", "parent", "enclave", "kms"}

// The quantities. Of enclave and KMS nothing is known but what the kernel tells:
// the one must not tell anything, and the other stands for AWS's.
const (
	memory      = "memory"
	descriptors = "descriptors"
	threads     = "threads"
	goroutines  = "goroutines"
	heap        = "live heap"
)

// series names one quantity of one part.
type series struct{ part, quantity string }

// sample is all that was seen at one moment.
type sample struct {
	at     time.Duration // since the load began
	values map[series]float64
	// answers is how many there were until then.
	answers int
}

// scrape is the parent's metrics, by name and labels as they are written.
type scrape map[string]float64

// look reads all processes.
func (p *pipeline) look(ctx context.Context) (map[series]float64, scrape, error) {
	values := map[series]float64{}
	pids := p.cluster.Info().PIDs
	pids["client"] = os.Getpid()
	for _, part := range parts {
		u, err := usage.Of(pids[part])
		if err != nil {
			return nil, nil, fmt.Errorf("looking at %s: %w", part, err)
		}
		values[series{part, memory}] = float64(u.RSS)
		values[series{part, descriptors}] = float64(u.FDs)
		values[series{part, threads}] = float64(u.Threads)
	}
	own := []metrics.Sample{{Name: "/sched/goroutines:goroutines"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(own)
	values[series{"client", goroutines}] = float64(own[0].Value.Uint64())
	values[series{"client", heap}] = float64(own[1].Value.Uint64())
	m, err := p.scrape(ctx)
	if err != nil {
		return nil, nil, err
	}
	for quantity, name := range map[string]string{goroutines: "nitroseal_parent_goroutines", heap: "nitroseal_parent_live_heap_bytes"} {
		v, ok := m[name]
		if !ok {
			return nil, nil, fmt.Errorf("the parent has no metric %s", name)
		}
		values[series{"parent", quantity}] = v
	}
	return values, m, nil
}

// maxScrape bounds the parent's metrics, in bytes.
const maxScrape = 1 << 20

// scrape reads the parent's metrics. It leaves no connection behind, which would
// be counted.
func (p *pipeline) scrape(ctx context.Context) (scrape, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.cluster.Info().AdminURL+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	req.Close = true
	resp, err := p.raw.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the parent's metrics: %w", err)
	}
	defer resp.Body.Close()
	return readScrape(io.LimitReader(resp.Body, maxScrape))
}

// readScrape reads Prometheus's text format.
func readScrape(r io.Reader) (scrape, error) {
	m := scrape{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || strings.HasPrefix(line, "#") {
			continue
		}
		v, err := strconv.ParseFloat(line[i+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("the parent's metrics: no number in %.80q", line)
		}
		m[line[:i]] = v
	}
	return m, lines.Err()
}

// sum is of all samples of a family.
func (m scrape) sum(family string) (n float64) {
	for name, v := range m {
		if name == family || strings.HasPrefix(name, family+"{") {
			n += v
		}
	}
	return n
}

// byCode is how many requests ended with each word, at all endpoints.
func (m scrape) byCode() map[string]int {
	counts := map[string]int{}
	for name, v := range m {
		if labels, ok := strings.CutPrefix(name, "nitroseal_parent_requests_total{"); ok {
			_, code, _ := strings.Cut(labels, `code="`)
			code, _, _ = strings.Cut(code, `"`)
			counts[code] += int(v)
		}
	}
	return counts
}
