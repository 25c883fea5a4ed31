package pid1

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"github.com/nitroseal/nitroseal/vsockrpc"
)

// Wanted reports whether this process is the first of an enclave: the kernel
// started it by the name of init. In a container the first process has another
// name.
func Wanted() bool { return os.Getpid() == 1 && len(os.Args) > 0 && os.Args[0] == Name }

// Main runs the enclave and restarts the machine. It does not return. log is
// the console.
func Main(log io.Writer) {
	status, err := guarded(func() (int, error) { return run(log) })
	if err != nil {
		fmt.Fprintln(log, "init:", err)
	} else {
		fmt.Fprintf(log, "init: the program ended with status %d\n", status)
	}
	restart(log)
}

// guarded makes an error of a panic: the machine shall restart, not hang.
func guarded(f func() (int, error)) (status int, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("pid1: panic: %v", r)
		}
	}()
	return f()
}

// restart ends the enclave. It is a restart and no power-off, because Nitro's
// machine has no ACPI to switch it off by: it would halt and keep its memory.
func restart(log io.Writer) {
	unix.Sync()
	err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	fmt.Fprintln(log, "init: restarting:", err)
	os.Exit(1) // of the first process: the kernel panics, and restarts
}

// run sets the machine up and runs the program to its end.
func run(log io.Writer) (status int, err error) {
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"file systems", mountAll},
		{"restart after a panic", func() error { return os.WriteFile("/proc/sys/kernel/panic", []byte("-1"), 0) }},
		{"loopback interface", loopback},
		{"kernel modules", func() error { return loadModules(ModulesDir, finitModule) }},
	} {
		if err := step.do(); err != nil {
			return 0, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	data, err := os.ReadFile(ConfigFile)
	if err != nil {
		return 0, err
	}
	c, err := ParseConfig(data)
	if err != nil {
		return 0, err
	}
	if err := temporary(c.TmpMiB); err != nil {
		return 0, err
	}
	if c.ParentCID != 0 {
		err := heartbeat(context.Background(), func(ctx context.Context) (net.Conn, error) {
			return vsockrpc.Dial(ctx, fmt.Sprintf("vsock://%d:%d", c.ParentCID, heartbeatPort))
		})
		if err != nil {
			fmt.Fprintln(log, "init: nobody takes the heartbeat:", err)
		}
	}
	return supervise(c)
}

// mount is a file system of the kernel.
type mount struct {
	kind, at string
	flags    uintptr
	options  string
}

// mountAll mounts the kernel's own file systems.
func mountAll() error {
	for _, m := range []mount{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0755"},
	} {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

// temporary mounts folders for files that come and go. The root file system is
// memory without a bound; these have one.
func temporary(mib int) error {
	if mib == 0 {
		mib = 64
	}
	for _, at := range []string{"/tmp", "/run"} {
		m := mount{"tmpfs", at, unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, fmt.Sprintf("mode=0700,size=%dm,nr_inodes=4096", mib)}
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func (m mount) do() error {
	if err := os.MkdirAll(m.at, 0o755); err != nil {
		return err
	}
	// EBUSY: the kernel has mounted it itself.
	if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.options); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("mounting %s: %w", m.at, err)
	}
	return nil
}

// loopback brings up lo, which nobody else does.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, req)
}
