package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

// maxLoad is the load average over which figures would be those of something
// else.
const maxLoad = 0.5

// facts are what figures depend on beside the programs.
type facts struct {
	cpu     string
	cores   int
	load    float64 // in the last minute before
	threads int
	date    string
}

func machine(threads int) (facts, error) {
	f := facts{cpu: "unknown", cores: runtime.NumCPU(), threads: threads, date: time.Now().UTC().Format(time.DateOnly)}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return facts{}, err
	}
	if _, err := fmt.Sscan(string(load), &f.load); err != nil {
		return facts{}, err
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return facts{}, err
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			f.cpu = strings.TrimSpace(value)
			break
		}
	}
	return f, nil
}
