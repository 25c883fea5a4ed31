package main

import (
	"bytes"
	"os"
	"runtime"
	"strings"
)

// machine is what the run was on.
type machine struct {
	cpu       string
	cores     int
	goVersion string
	platform  string
}

func thisMachine() machine {
	m := machine{cpu: "unknown CPU", cores: runtime.NumCPU(), goVersion: runtime.Version(), platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		m.cpu = modelName(info, m.cpu)
	}
	return m
}

// modelName is the first processor's, or otherwise if the kernel names none.
func modelName(info []byte, otherwise string) string {
	for line := range bytes.Lines(info) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.Join(strings.Fields(value), " ")
		}
	}
	return otherwise
}
