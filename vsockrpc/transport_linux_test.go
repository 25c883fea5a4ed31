package vsockrpc_test

import (
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// most is what some kernels take in one write to vsock without corrupting it.
const most = 32 << 10

// TestEveryWriteIsSmall has the kernel refuse larger writes to this program,
// run again, and sees that calls do not make any, nor connections over vsock
// whatever is written to them.
func TestEveryWriteIsSmall(t *testing.T) {
	const confined = "NITROSEAL_CONFINED"
	if os.Getenv(confined) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestEveryWriteIsSmall$", "-test.v")
		cmd.Env = append(os.Environ(), confined+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		t.Logf("%s", out)
		return
	}
	if err := refuseLargeWrites(); err != nil {
		t.Skipf("this machine does not let a process confine itself: %v", err)
	}
	large := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(large)

	// The refusal works.
	tr := transportOf(t, "unix")
	client, _ := tr.pair(t)
	if n, err := client.Write(large[:most+1]); !errors.Is(err, syscall.EPERM) {
		t.Fatalf("a large write: %d, %v", n, err)
	}

	addr := address(t, local)
	serve(t, addr, vsockrpc.ServerOptions{})
	c := dial(t, addr)
	if resp, err := c.Call(t.Context(), "echo", large); err != nil || sha256.Sum256(resp) != sha256.Sum256(large) {
		t.Errorf("a call: %d bytes, %v", len(resp), err)
	}
	st, err := c.Stream(t.Context(), "mirror")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	for _, size := range []int{1, most, most + 1, 1 << 20} {
		if err := st.Send(large[:size]); err != nil {
			t.Error(err)
		}
		if m, err := st.Recv(); len(m) != size || err != nil {
			t.Errorf("a message: %d of %d bytes, %v", len(m), size, err)
		}
	}

	if local != "vsock" {
		t.Log("not over vsock: only calls are checked, since other sockets take large writes")
		return
	}
	tr = transportOf(t, "vsock")
	client, server := tr.pair(t)
	name := filepath.Join(t.TempDir(), "large")
	for i := 0; i < len(large); i += most { // os.WriteFile is confined, too
		f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(large[i : i+most]); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	written := make(chan error, 1)
	go func() {
		_, err := client.Write(large)
		f, ferr := os.Open(name)
		if ferr == nil {
			_, ferr = io.Copy(client, f) // may not use sendfile, which has no limit
			f.Close()
		}
		client.Close()
		written <- errors.Join(err, ferr)
	}()
	got, err := io.ReadAll(server)
	if err := errors.Join(err, <-written); err != nil || sha256.Sum256(got) != sha256.Sum256(append(large, large...)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// refuseLargeWrites has the kernel answer EPERM to writes of more than most
// bytes by any thread of this process, and to calls whose size it cannot see.
func refuseLargeWrites() error {
	const (
		loadNumber = 0  // offset of the system call's number
		loadSize   = 32 // and of its third argument, little-endian
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	filter := []unix.SockFilter{load(loadNumber)}
	sized := []uint32{unix.SYS_WRITE, unix.SYS_SENDTO}
	unsized := []uint32{unix.SYS_WRITEV, unix.SYS_SENDMSG, unix.SYS_SENDMMSG, unix.SYS_SENDFILE, unix.SYS_SPLICE}
	for i, n := range unsized { // to the last instruction
		filter = append(filter, jump(unix.BPF_JEQ, n, uint8(len(unsized)-1-i+len(sized)+6), 0))
	}
	for i, n := range sized {
		filter = append(filter, jump(unix.BPF_JEQ, n, uint8(len(sized)-i), 0))
	}
	filter = append(filter,
		answer(unix.SECCOMP_RET_ALLOW),
		load(loadSize+4), jump(unix.BPF_JEQ, 0, 0, 3),
		load(loadSize), jump(unix.BPF_JGT, most, 1, 0),
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)),
	)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
