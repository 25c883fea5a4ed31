package main

import (
	"fmt"
	"slices"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
)

// used is what a part uses.
type used struct {
	usage.Usage
	goroutines int // only of this process
}

// How much more a process may use after a fault than before. A leak for each
// question that failed is more than that: there are 16 clients, and more.
const (
	moreFDs        = 4
	moreRSS        = 96 << 20
	moreThreads    = 16 // Go starts some when the machine is busy, and keeps them
	moreGoroutines = 8
)

// leaks says what of after is over before, by part. A part that has another
// process than before is held to what the old one used.
func leaks(before, after map[string]used) []string {
	var all []string
	for name, a := range after {
		b, ok := before[name]
		if !ok {
			continue
		}
		for _, x := range []struct {
			what         string
			before, more int64
			now          int64
		}{
			{"descriptors", int64(b.FDs), moreFDs, int64(a.FDs)},
			{"bytes of memory", b.RSS, moreRSS, a.RSS},
			{"threads", int64(b.Threads), moreThreads, int64(a.Threads)},
			{"goroutines", int64(b.goroutines), moreGoroutines, int64(a.goroutines)},
		} {
			if x.now > x.before+x.more {
				all = append(all, fmt.Sprintf("%s: %d %s, %d before", name, x.now, x.what, x.before))
			}
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			all = append(all, name+": not running")
		}
	}
	slices.Sort(all)
	return all
}
