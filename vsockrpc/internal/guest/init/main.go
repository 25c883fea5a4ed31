//go:build linux

// Init is the first and only process of a guest of package guest: it loads
// modules, runs the program, tells its exit status and switches the guest off.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"github.com/nitroseal/nitroseal/vsockrpc/internal/guest"
)

func main() {
	status, err := run()
	if err != nil {
		fmt.Println("init:", err)
		status = -1
	}
	fmt.Printf("\nGUEST EXIT %d\n", status)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil { // -no-reboot ends QEMU
		fmt.Println("init: reboot:", err)
	}
	select {}
}

func run() (int, error) {
	for _, m := range []struct{ kind, at string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return 0, err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return 0, fmt.Errorf("mounting %s: %w", m.at, err)
		}
	}
	if err := loopback(); err != nil {
		return 0, fmt.Errorf("lo: %w", err)
	}
	data, err := os.ReadFile(guest.CommandFile)
	if err != nil {
		return 0, err
	}
	var c guest.Command
	if err := json.Unmarshal(data, &c); err != nil {
		return 0, err
	}
	for _, m := range c.Modules {
		if err := load(m); err != nil {
			return 0, fmt.Errorf("module %s: %w", m, err)
		}
	}
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.Env, os.Stdout, os.Stdout
	err = cmd.Run()
	if cmd.ProcessState == nil {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

func load(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.FinitModule(int(f.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// loopback brings up lo, which nobody else does.
func loopback() error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
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
