package main

import (
	"math"
	"strings"
	"testing"
	"time"
)

// samplesOf are 100 samples of one series, over a run of 100 minutes.
func samplesOf(s series, value func(i int) float64) []sample {
	var all []sample
	for i := range 100 {
		all = append(all, sample{at: time.Duration(i) * time.Minute, values: map[series]float64{s: value(i)}, answers: 10 * i})
	}
	return all
}

func TestJudge(t *testing.T) {
	noise := func(i int) float64 { return float64((i*7919)%11) - 5 }
	for name, tt := range map[string]struct {
		quantity string
		value    func(i int) float64
		flat     bool
		hourly   float64
	}{
		"constant":         {goroutines, func(int) float64 { return 100 }, true, 0},
		"noise":            {goroutines, func(i int) float64 { return 100 + noise(i) }, true, 0},
		"leak":             {goroutines, func(i int) float64 { return 100 + float64(i) }, false, 60},
		"leak with noise":  {goroutines, func(i int) float64 { return 100 + noise(i) + float64(i) }, false, 60},
		"slow leak of fds": {descriptors, func(i int) float64 { return 20 + math.Floor(float64(i)/5) }, false, 12},
		"shrinks":          {goroutines, func(i int) float64 { return 200 - float64(i) }, true, -60},
		"only in warm-up":  {memory, func(i int) float64 { return float64(min(i, 20)) * (10 << 20) }, true, 0},
		"outliers":         {descriptors, func(i int) float64 { return 20 + float64(i%10/9*1000) }, true, 0},
		"within 8 MiB":     {memory, func(i int) float64 { return 1<<20 + float64(i)*(100<<10) }, true, 60 * 100 << 10},
		"over 8 MiB":       {memory, func(i int) float64 { return 1<<20 + float64(i)*(110<<10) }, false, 60 * 110 << 10},
		"within 5 %":       {heap, func(i int) float64 { return 1<<30 + float64(i)*(600<<10) }, true, 60 * 600 << 10},
		"over 5 %":         {heap, func(i int) float64 { return 1<<30 + float64(i)*(800<<10) }, false, 60 * 800 << 10},
		"threads":          {threads, func(i int) float64 { return 100 + float64(i)/10 }, false, 6},
	} {
		s := series{"parent", tt.quantity}
		got := judge(s, samplesOf(s, tt.value), 100*time.Minute)
		if got.flat() != tt.flat || math.Abs(got.slope-tt.hourly) > math.Abs(tt.hourly)/10+0.5 {
			t.Errorf("%s: grew by %v, at most %v; %v an hour", name, got.grown, got.most, got.slope)
		}
	}
}

func TestTheilSen(t *testing.T) {
	if got := theilSen([]float64{0, 1, 2, 3, 4}, []float64{1, 3, 5, 1000, 9}); got != 2 {
		t.Errorf("with an outlier: %v", got)
	}
	if got := theilSen([]float64{1, 1}, []float64{1, 2}); got != 0 {
		t.Errorf("of one moment: %v", got)
	}
}

func TestNotIdle(t *testing.T) {
	before, after := map[series]float64{}, map[series]float64{}
	for s, more := range idleSeries() {
		before[s], after[s] = 10, 10+more
	}
	if got := notIdle(before, after); len(got) != 0 {
		t.Errorf("%q", got)
	}
	after[series{"kms", descriptors}]++
	after[series{"client", goroutines}]++
	if got := strings.Join(notIdle(before, after), "; "); got != "client: 19 goroutines when idle, 10 before the load; kms: 15 descriptors when idle, 10 before the load" {
		t.Errorf("%q", got)
	}
}

func TestLatencies(t *testing.T) {
	var l latencies
	for i := range 1000 {
		l.add(time.Duration(i+1) * time.Millisecond)
	}
	l.add(time.Hour)
	for q, want := range map[float64]time.Duration{0.5: 501 * time.Millisecond, 0.99: 991 * time.Millisecond, 1: time.Hour} {
		if got := l.quantile(q); q < 1 && (got < want || got > want+want/50) || q == 1 && l.max != want {
			t.Errorf("%v: %v, max %v", q, got, l.max)
		}
	}
	if got := (&latencies{}).quantile(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestReadScrape(t *testing.T) {
	m, err := readScrape(strings.NewReader("# HELP a A.\n# TYPE a gauge\na 1.5\nnitroseal_parent_requests_total{endpoint=\"ask\",code=\"ok\"} 3\nnitroseal_parent_requests_total{endpoint=\"attest\",code=\"ok\"} 2\n"))
	if err != nil || m["a"] != 1.5 || m.byCode()["ok"] != 5 || m.sum("nitroseal_parent_requests_total") != 5 || m.sum("nitroseal_parent_requests") != 0 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := readScrape(strings.NewReader("a b\n")); err == nil {
		t.Error("what is no number is taken for one")
	}
}
