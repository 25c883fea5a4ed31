package proxy_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
)

var nextPort atomic.Uint32

// address is a fresh one for the parent's side: a unix socket, or vsock in a
// guest that has it (package internal/guest).
func address(t *testing.T) string {
	t.Helper()
	if os.Getenv("NITROSEAL_TRANSPORT") == "vsock" {
		return fmt.Sprintf("vsock://1:%d", 40000+nextPort.Add(1))
	}
	return "unix://" + filepath.Join(t.TempDir(), "egress")
}
