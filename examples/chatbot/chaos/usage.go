package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// usage is what a process uses.
type usage struct {
	pid        int
	fds        int
	rss        int64 // bytes
	threads    int
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

// usageOf reads what the kernel says of a process. It is for Linux.
func usageOf(pid int) (usage, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	rss, err := field(status, "VmRSS:")
	if err != nil {
		return usage{}, err
	}
	threads, err := field(status, "Threads:")
	return usage{pid: pid, fds: len(fds), rss: rss << 10, threads: int(threads)}, err
}

// field reads a number of /proc/PID/status.
func field(status []byte, name string) (int64, error) {
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte(name))
		if !ok {
			continue
		}
		words := bytes.Fields(rest)
		if len(words) == 0 {
			break
		}
		return strconv.ParseInt(string(words[0]), 10, 64)
	}
	return 0, fmt.Errorf("the kernel gives no %s", name)
}

// leaks says what of after is over before, by part. A part that has another
// process than before is held to what the old one used.
func leaks(before, after map[string]usage) []string {
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
			{"descriptors", int64(b.fds), moreFDs, int64(a.fds)},
			{"bytes of memory", b.rss, moreRSS, a.rss},
			{"threads", int64(b.threads), moreThreads, int64(a.threads)},
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
