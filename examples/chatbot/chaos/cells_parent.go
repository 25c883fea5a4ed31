package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/envelope/session/sessionrpc"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/local"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

const hopParent = "parent"

func parentCells() []cell {
	gone := of(wire.ReasonParent)
	return []cell{
		{
			hop: hopParent, fault: "killed", how: "SIGKILL, then started again",
			must: gone, may: append(of(wire.ReasonKMSUnavailable), truncated),
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				p.cluster.KillParent()
				return func() error { return p.restartParent(ctx) }, nil
			},
		},
		{
			hop: hopParent, fault: "told to end", how: "SIGTERM: answers under way are finished; then started again",
			must: gone, may: of(wire.ReasonNotReady),
			inject: func(ctx context.Context, p *pipeline) (func() error, error) {
				if err := syscall.Kill(p.pid("parent"), syscall.SIGTERM); err != nil {
					return nil, err
				}
				return func() error {
					p.cluster.StopParent()
					return p.restartParent(ctx)
				}, nil
			},
		},
		{hop: hopParent, fault: "frozen", how: "SIGSTOP, then SIGCONT", must: of(wire.ReasonDeadline), may: gone, inject: freeze("parent")},
		{
			hop: hopParent, fault: "out of descriptors", how: "its limit is 3 files (prlimit), all connections are cut",
			must: append(gone, class(wire.ReasonDeadline), class(wire.ReasonKMSUnavailable), class(wire.ReasonUnavailable)), may: []class{truncated},
			inject: outOfFiles("parent", func(p *pipeline) { p.quiesce() }),
		},
		{
			hop: hopParent, fault: "out of memory", how: "its limit is what it has and 8 MiB (prlimit), 128 requests of 3 MiB come; it may die and is then started again",
			must: append(gone, class(wire.ReasonOverloaded)), may: append(of(wire.ReasonKMSUnavailable, wire.ReasonDeadline), truncated),
			inject: injectNoMemory,
		},
		{
			hop: hopParent, fault: "its log's disk is full", how: "clients are sent to a second parent, whose standard error is /dev/full, and back",
			hold: time.Second, may: append(gone, truncated), inject: injectFullDisk,
		},
	}
}

// freeze stops a process and lets it go on.
func freeze(name string) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		pid := p.pid(name)
		return func() error { return syscall.Kill(pid, syscall.SIGCONT) }, syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// outOfFiles lowers a process's limit of open files below what it has, and ends
// connections so that it wants others.
func outOfFiles(name string, end func(*pipeline)) func(context.Context, *pipeline) (func() error, error) {
	return func(_ context.Context, p *pipeline) (func() error, error) {
		restore, err := limit(p.pid(name), limitFiles, 3)
		if err != nil {
			return nil, err
		}
		end(p)
		return restore, nil
	}
}

func injectNoMemory(ctx context.Context, p *pipeline) (func() error, error) {
	pid := p.pid("parent")
	has, err := addressSpace(pid)
	if err != nil {
		return nil, err
	}
	restore, err := limit(pid, limitMemory, has+8<<20)
	if err != nil {
		return nil, err
	}
	// All but the last byte of each: the parent holds the rest meanwhile.
	body := bytes.Repeat([]byte("NSQ1"), 3<<18)
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n", sessionrpc.PathAsk, sealedType, len(body)+1)
	heal := others(ctx, 128, func(ctx context.Context, _ int) {
		c, err := net.Dial("tcp", p.front.listener.Addr().String())
		if err != nil {
			return
		}
		defer c.Close()
		defer context.AfterFunc(ctx, func() { c.Close() })()
		if _, err := io.WriteString(c, head); err != nil {
			return
		}
		if _, err := c.Write(body); err == nil {
			<-ctx.Done()
		}
	})
	return func() error {
		heal()
		if restore() == nil && alive(pid) {
			return nil
		}
		p.cluster.KillParent()
		return p.restartParent(ctx)
	}, nil
}

// alive reports whether a process runs: one that has ended, and that nobody has
// waited for, does not.
func alive(pid int) bool {
	_, err := usage.Of(pid)
	return err == nil
}

// injectFullDisk starts a parent of its own, which has nowhere to log to.
func injectFullDisk(ctx context.Context, p *pipeline) (func() error, error) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return nil, err
	}
	defer full.Close()
	args := append([]string{"parent", "-listen", "127.0.0.1:0", "-enclave", p.enclaveAddr(0) + ".c"}, parentArgs...)
	second := exec.CommandContext(ctx, p.binary, args...)
	second.Stderr = full
	out, err := second.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := second.Start(); err != nil {
		return nil, err
	}
	end := func() error {
		second.Process.Kill()
		second.Wait() // its error says that it was killed
		p.aim()
		return nil
	}
	var ready local.ParentReady
	if err := json.NewDecoder(out).Decode(&ready); err != nil {
		return nil, errors.Join(err, end())
	}
	p.aimAt(ready.URL)
	p.front.cut()
	return func() error {
		err := answered(ctx, p, exact.Names[0])
		if !alive(second.Process.Pid) {
			err = errors.Join(err, errors.New("the parent with the full disk has ended"))
		}
		return errors.Join(err, end())
	}, nil
}
