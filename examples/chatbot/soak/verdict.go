package main

import (
	"fmt"
	"slices"
	"time"
)

// minSamples is with how many a run can be judged.
const minSamples = 10

// warmUp is the share of the run that is not judged: caches fill, and pools of
// threads, connections and memory grow to what the load takes.
const warmUp = 0.2

// bound is how much a quantity may grow along the line over the judged window:
// by share of its median, or by least, whichever is more.
type bound struct {
	share, least float64
}

// What goes up and down with the load is not growth, and over a window of 24
// minutes each bound is less than one of its kind a minute would come to, or, for
// memory, less than 100 bytes a question of a hundred thousand.
var bounds = map[string]bound{
	memory:      {0.05, 8 << 20},
	heap:        {0.05, 8 << 20},
	descriptors: {0.05, 8}, // connections that reconnecting clients left are open for a minute more
	goroutines:  {0.05, 12},
	threads:     {0, 4}, // Go starts some when the machine is busy, and keeps them
}

// idleMore is how many more there may be of a quantity after the load than
// before: what is kept for the next question, such as a connection to KMS. Memory
// is not compared, since Go and the model keep it.
var idleMore = map[string]float64{descriptors: 4, goroutines: 8}

// trend is what became of one quantity.
type trend struct {
	series
	start, median, end float64 // of the judged window; start and end on the line
	slope              float64 // per hour
	grown, most        float64
	tenths             []float64 // medians by tenth of the run
}

func (t *trend) flat() bool { return t.grown <= t.most }

// judge draws a line through the samples of one series after the warm-up, of
// which there must be some.
func judge(s series, all []sample, duration time.Duration) trend {
	var x, y []float64
	tenths := make([][]float64, 10)
	for _, one := range all {
		v := one.values[s]
		i := min(int(10*float64(one.at)/float64(duration)), 9)
		tenths[i] = append(tenths[i], v)
	}
	for _, one := range judged(all, duration) {
		x, y = append(x, one.at.Hours()), append(y, one.values[s])
	}
	t := trend{series: s, median: median(y), slope: theilSen(x, y)}
	middle, first, last := median(x), x[0], x[len(x)-1]
	t.start, t.end = t.median+t.slope*(first-middle), t.median+t.slope*(last-middle)
	t.grown = t.end - t.start
	b := bounds[s.quantity]
	t.most = max(b.share*t.median, b.least)
	for _, part := range tenths {
		v := 0.0
		if len(part) > 0 {
			v = median(part)
		}
		t.tenths = append(t.tenths, v)
	}
	return t
}

// judged are the samples after the warm-up.
func judged(all []sample, duration time.Duration) []sample {
	for i, one := range all {
		if float64(one.at) >= warmUp*float64(duration) {
			return all[i:]
		}
	}
	return nil
}

// theilSen is the median slope of the lines through any two points: up to 29 % of
// the points may be anywhere without moving it far.
func theilSen(x, y []float64) float64 {
	var slopes []float64
	for i := range x {
		for j := range i {
			if x[i] != x[j] {
				slopes = append(slopes, (y[i]-y[j])/(x[i]-x[j]))
			}
		}
	}
	if len(slopes) == 0 {
		return 0
	}
	return median(slopes)
}

// notIdle says what there is more of than before the load.
func notIdle(before, after map[series]float64) []string {
	var all []string
	for s, more := range idleSeries() {
		if after[s] > before[s]+more {
			all = append(all, fmt.Sprintf("%s: %.0f %s when idle, %.0f before the load", s.part, after[s], s.quantity, before[s]))
		}
	}
	slices.Sort(all)
	return all
}

// idleSeries are what must be as before the load, with what may be over it.
func idleSeries() map[series]float64 {
	all := map[series]float64{}
	for _, s := range allSeries() {
		if more, ok := idleMore[s.quantity]; ok {
			all[s] = more
		}
	}
	return all
}

// allSeries are all quantities of all parts, in the order of the report.
func allSeries() []series {
	var all []series
	for _, part := range parts {
		for _, q := range []string{memory, heap, goroutines, descriptors, threads} {
			if (q == heap || q == goroutines) && part != "client" && part != "parent" {
				continue
			}
			all = append(all, series{part, q})
		}
	}
	return all
}
