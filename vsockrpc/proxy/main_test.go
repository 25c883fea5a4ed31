package proxy_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestMain fails if any test left a goroutine of the package behind.
func TestMain(m *testing.M) {
	status := m.Run()
	// The tests' own package is named proxy_test.
	if left := leaked("nitroseal/vsockrpc/proxy."); left != "" {
		fmt.Printf("FAIL: goroutines are left over:\n%s\n", left)
		status = max(status, 1)
	}
	os.Exit(status)
}

// leaked returns the stacks that name frame, after it gave their goroutines
// time to end.
func leaked(frame string) string {
	deadline := time.After(10 * time.Second)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for {
		buf := make([]byte, 8<<20)
		buf = buf[:runtime.Stack(buf, true)]
		var left []string
		for g := range strings.SplitSeq(string(buf), "\n\n") {
			if strings.Contains(g, frame) {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return ""
		}
		select {
		case <-poll.C:
		case <-deadline:
			return strings.Join(left, "\n\n")
		}
	}
}
