package guest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// kernel is an unpacked kernel package, from NITROSEAL_GUEST_KERNEL. .ci/guest
// gets one.
func kernel(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("NITROSEAL_GUEST_KERNEL")
	if dir == "" {
		t.Skip("NITROSEAL_GUEST_KERNEL names no kernel to boot: run .ci/guest, which gets one")
	}
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		t.Skip("guests run on linux/amd64 only")
	}
	return dir
}

// build builds a Go program or test without cgo, to run in the guest.
func build(t *testing.T, args ...string) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "program")
	cmd := exec.CommandContext(t.Context(), "go", append([]string{args[0], "-o", file}, args[1:]...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if args[0] == "test" {
		cmd.Args = append(cmd.Args[:2:2], append([]string{"-c"}, cmd.Args[2:]...)...)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// vsockModules are those of vsock(7) with the loopback, in order.
var vsockModules = []string{"vsock", "vmw_vsock_virtio_transport_common", "vsock_loopback"}

// inMemory are long tests that do not touch the transport: emulation would only
// make them longer.
const inMemory = "^(TestModel|TestCutInAnyConversation)$"

// TestVsock runs all tests of package vsockrpc and its proxy in a guest, over
// AF_VSOCK where they otherwise use unix sockets.
func TestVsock(t *testing.T) {
	dir, init := kernel(t), build(t, "build", "./init")
	for _, pkg := range []string{"vsockrpc", "vsockrpc/proxy"} {
		t.Run(pkg, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			var console bytes.Buffer
			began := time.Now()
			status, err := Run(ctx, Options{
				Kernel: dir, Modules: vsockModules, Init: init, Console: &console,
				Files: map[string][]byte{"/tests": build(t, "test", "github.com/nitroseal/nitroseal/"+pkg)},
				Args:  []string{"/tests", "-test.v", "-test.timeout=9m", "-test.skip=" + inMemory},
				Env:   []string{"NITROSEAL_TRANSPORT=vsock", "TMPDIR=/tmp", "PATH=/", "HOME=/tmp"},
			})
			if err != nil || status != 0 {
				t.Fatalf("exit status %d, %v\n%s", status, err, &console)
			}
			passed, skipped := strings.Count(console.String(), "--- PASS"), strings.Count(console.String(), "--- SKIP")
			t.Logf("%d tests passed over vsock, %d were skipped, in %v", passed, skipped, time.Since(began).Round(time.Second))
			for line := range strings.Lines(console.String()) {
				if strings.Contains(line, "no vsock loopback") {
					t.Error("the guest has no vsock:", line)
				}
			}
		})
	}
}

// TestFailures checks that what goes wrong in a guest does not pass.
func TestFailures(t *testing.T) {
	dir, init := kernel(t), build(t, "build", "./init")
	var console bytes.Buffer
	status, err := Run(t.Context(), Options{Kernel: dir, Init: init, Args: []string{"/init-is-no-such-program"}, Console: &console})
	if status != -1 || err != nil || !strings.Contains(console.String(), "no such file") {
		t.Errorf("no such program: %d, %v\n%s", status, err, &console)
	}
	if _, err := Run(t.Context(), Options{Kernel: dir, Init: init, Modules: []string{"none"}, Args: []string{"/x"}}); err == nil {
		t.Error("no such module")
	}
	if _, err := Run(t.Context(), Options{Kernel: t.TempDir(), Init: init, Args: []string{"/x"}}); err == nil {
		t.Error("no kernel")
	}
	if _, err := Run(t.Context(), Options{Kernel: dir, Init: []byte("no program"), Args: []string{"/x"}}); !errors.Is(err, ErrNoExit) {
		t.Errorf("an init that does not start: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, Options{Kernel: dir, Init: init, Args: []string{"/x"}}); err == nil {
		t.Error("a context that has ended")
	}
}

// TestCPIO has cpio(1)'s own opinion, where there is one.
func TestCPIO(t *testing.T) {
	var archive bytes.Buffer
	files := map[string][]byte{"/a": []byte("1"), "/dir/deep/b": []byte("12345"), "/dir/c": nil}
	if err := writeCPIO(&archive, files); err != nil {
		t.Fatal(err)
	}
	if archive.Len()%4 != 0 || !bytes.HasPrefix(archive.Bytes(), []byte("07070100000001000081ED")) {
		t.Errorf("%.60q", archive.Bytes())
	}
	if _, err := exec.LookPath("cpio"); err != nil {
		t.Skip("the cpio command is not installed: only a guest's kernel reads the archive")
	}
	cmd := exec.CommandContext(t.Context(), "cpio", "-t", "--quiet")
	cmd.Stdin = &archive
	if out, err := cmd.CombinedOutput(); err != nil || string(out) != "a\ndir\ndir/c\ndir/deep\ndir/deep/b\n" {
		t.Errorf("%v\n%s", err, out)
	}
}
