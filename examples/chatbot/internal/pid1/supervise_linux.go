package pid1

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// supervise runs the program to its end and returns its exit status, or 128 and
// the signal's number. SIGTERM and SIGINT are passed on to it. Whoever loses its
// parent becomes a child of the first process, and is reaped here.
func supervise(c Config) (int, error) {
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, unix.SIGTERM, unix.SIGINT)
	defer signal.Stop(signals)
	// Not os/exec: it would wait for the program besides the loop below.
	pid, err := syscall.ForkExec(c.Command[0], c.Command, &syscall.ProcAttr{Dir: "/", Env: c.Env, Files: []uintptr{0, 1, 2}})
	if err != nil {
		return 0, fmt.Errorf("starting %s: %w", c.Command[0], err)
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				syscall.Kill(pid, s.(syscall.Signal))
			case <-ended:
				return
			}
		}
	}()
	return reap(pid)
}

// reap waits for children until the one with that pid has ended.
func reap(pid int) (int, error) {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting: %w", err)
		case got == pid && status.Exited():
			return status.ExitStatus(), nil
		case got == pid && status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}
