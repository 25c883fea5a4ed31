package local

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// process is one subcommand of the chatbot running by itself. It is told to
// stop by the end of its standard input, so that it cannot outlive its parent,
// however that ends.
type process struct {
	name  string
	cmd   *exec.Cmd
	stdin io.Closer
	tail  *tail
	done  chan struct{}
	err   error // of Wait; valid once done is closed
}

// startTimeout bounds how long a part may take to say that it is ready; an
// enclave may load a model of gigabytes before it does.
const startTimeout = 2 * time.Minute

// start runs binary with args and waits for the line of JSON on standard
// output by which it says that it serves, which is decoded into ready. What it
// writes to standard error goes to log.
func start(ctx context.Context, log io.Writer, ready any, binary string, args ...string) (*process, error) {
	p := &process{name: args[0], tail: &tail{}, done: make(chan struct{})}
	p.cmd = exec.Command(binary, args...)
	p.cmd.Env = environment()
	// A group of its own: Ctrl-C in a terminal is for the one who started it,
	// who then stops the parts in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stderr = io.MultiWriter(log, p.tail)
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", p.name, err)
	}
	line := make(chan []byte, 1)
	go func() {
		r := bufio.NewReader(out)
		first, _ := r.ReadBytes('\n')
		line <- first
		io.Copy(io.Discard, r) // Wait may only be called after the pipe's end
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case first := <-line:
		if err := json.Unmarshal(first, ready); err == nil {
			return p, nil
		}
		p.kill()
		return nil, fmt.Errorf("%s did not start: %s", p.name, p.tail.last())
	case <-timeout.C:
		p.kill()
		return nil, fmt.Errorf("%s was not ready within %v: %s", p.name, startTimeout, p.tail.last())
	case <-ctx.Done():
		p.kill()
		return nil, ctx.Err()
	}
}

// environment is what a part inherits: where to find libllama, and no more.
// The user's environment may hold credentials, or the question itself.
func environment() []string {
	var env []string
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", libllama.DirEnv} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop asks the process to end and kills it if it does not within 5 seconds.
func (p *process) stop() {
	if p == nil {
		return
	}
	p.stdin.Close()
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

// kill ends the process at once (SIGKILL) and waits for it.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// tail keeps the last lines of what a process wrote to standard error, for
// the message when it does not start.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, b...)
	if n := len(t.buf) - 2048; n > 0 {
		t.buf = append(t.buf[:0], t.buf[n:]...)
	}
	return len(b), nil
}

func (t *tail) last() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := bytes.TrimSpace(t.buf)
	if len(text) == 0 {
		return errors.New("it said nothing")
	}
	return errors.New(string(text))
}
