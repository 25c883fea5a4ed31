package main

import (
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden report")

// goodResult is of a run that never was, in which nothing failed.
func goodResult() *result {
	s := &settings{duration: 10 * time.Minute, every: 5 * time.Second, clients: 16, args: []string{"-duration", "10m"}}
	begin := time.Unix(0, 0)
	r := &result{
		settings: s, machine: machine{"A CPU", 2, "go1.26", "linux/amd64"}, tally: newTally(begin, s.duration), took: s.duration,
		before: map[series]float64{}, after: map[series]float64{}, settled: 61 * time.Second, kmsCalls: 130,
		parent: scrape{`nitroseal_parent_requests_total{endpoint="ask",code="ok"}`: 100, "nitroseal_parent_segments_total": 4000},
	}
	for i := range 100 {
		at := begin.Add(time.Duration(i) * 6 * time.Second)
		r.tally.answer(kinds[i%len(kinds)], strings.Repeat("ab", 1+i%8), at, at.Add(200*time.Millisecond), 40)
	}
	r.tally.cancel()
	r.tally.attest()
	r.tally.refuse("garbage")
	for i, one := range allSeries() {
		r.before[one], r.after[one] = 10, 11
		r.trends = append(r.trends, judge(one, samplesOf(one, func(n int) float64 { return float64(i) + float64(n%2) }), 100*time.Minute))
	}
	r.answers = answersByTenth(samplesOf(series{}, func(int) float64 { return 0 }), 100*time.Minute)
	return r
}

func TestDocument(t *testing.T) {
	const golden = "testdata/report.md"
	got := goodResult().document()
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil || got != string(want) {
		t.Errorf("%v; go test -update writes what is now\n%s", err, got)
	}
}

// Each thing that must not be is a problem, and the report says so.
func TestProblems(t *testing.T) {
	if got := goodResult().problems(); len(got) != 0 {
		t.Fatalf("nothing failed: %q", got)
	}
	for want, spoil := range map[string]func(*result){
		"1 answers or refusals were wrong":               func(r *result) { r.tally.mismatch(asking, errors.New("x")) },
		"1 errors that nobody caused":                    func(r *result) { r.tally.fail(asking, errors.New("x")) },
		"for example, asking: x":                         func(r *result) { r.tally.fail(asking, errors.New("x")) },
		"no answers for the clients that are conversing": func(r *result) { delete(r.tally.answered, conversing) },
		"nothing was cancelled":                          func(r *result) { r.tally.cancelled = 0 },
		"or nothing refused":                             func(r *result) { clear(r.tally.refused) },
		"0 keys of the enclave were seen, at least 3":    func(r *result) { clear(r.tally.keys) },
		"client: memory grew by 9.0 MiB, at most 8":      func(r *result) { r.trends[0].grown = 9 << 20 },
		"kms: 99 descriptors when idle":                  func(r *result) { r.after[series{"kms", descriptors}] = 99 },
		"the parent counts 1 in nitroseal_parent_panics": func(r *result) { r.parent["nitroseal_parent_panics_total"] = 1 },
	} {
		r := goodResult()
		spoil(r)
		if got := strings.Join(r.problems(), "\n"); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
		if !strings.Contains(r.document(), "FAILED") {
			t.Errorf("%s: the report tells of no failure", want)
		}
	}
}

func TestAnswersByTenth(t *testing.T) {
	for i, n := range answersByTenth(samplesOf(series{}, func(int) float64 { return 0 }), 100*time.Minute) {
		if want := 100; n != want && i < 9 || i == 9 && n != 90 {
			t.Errorf("%d: %d", i, n)
		}
	}
}

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Minute: "1m", 30 * time.Minute: "30m", 90 * time.Minute: "1h30m", 2 * time.Hour: "2h", 61 * time.Second: "1m1s", time.Second: "1s"} {
		if got := short(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}
