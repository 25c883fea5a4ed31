package badinput

import (
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write docs/bad-input/endpoints.md anew")

// TestMain fails if anything is left behind: a goroutine of this module, or a
// descriptor.
func TestMain(m *testing.M) {
	flag.Parse()
	before := descriptors()
	status := m.Run()
	if left := settled(func() string { return stacks("nitroseal/nitroseal/") }); left != "" {
		fmt.Printf("FAIL: goroutines are left over:\n%s\n", left)
		status = max(status, 1)
	}
	if left := settled(func() string { return more(before, descriptors()) }); left != "" {
		fmt.Printf("FAIL: descriptors are left over: %s\n", left)
		status = max(status, 1)
	}
	os.Exit(status)
}

// settled gives what ends by itself the time to do so, and returns what remains.
func settled(look func() string) string {
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		left := look()
		if left == "" {
			return ""
		}
		select {
		case <-poll.C:
		case <-deadline:
			return left
		}
	}
}

// stacks returns the stacks of other goroutines that name frame.
func stacks(frame string) string {
	buf := make([]byte, 8<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var left []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		if strings.Contains(g, frame) && !strings.Contains(g, "badinput.TestMain") {
			left = append(left, g)
		}
	}
	return strings.Join(left, "\n\n")
}

// descriptors counts the process's open files by what they are; nil where the
// system does not tell. The poller's own stay for good.
func descriptors() map[string]int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	kinds := map[string]int{}
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/proc/") {
			continue
		}
		kind, _, _ := strings.Cut(target, ":")
		kinds[kind]++
	}
	return kinds
}

func more(before, after map[string]int) string {
	for kind, n := range after {
		if n > before[kind] {
			return fmt.Sprintf("%d of %s, %d before", n, kind, before[kind])
		}
	}
	return ""
}
