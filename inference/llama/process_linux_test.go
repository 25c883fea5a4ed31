package llama_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

// childEnv makes a test binary open the model on its standard input, in
// TestOpenInChild, and tell what the process looks like.
const childEnv = "NITROSEAL_TEST_OPEN_CHILD"

// A childReport is what the child tells. Sizes are in bytes.
type childReport struct {
	Peak    int64 // VmHWM: the most that was in its memory, the mapped model included
	Own     int64 // the most of RssAnon and RssFile: everything but the model
	Written int64 // sent to storage while the model was opened

	FilesReading, FilesAfter []string // open while reading and afterwards, and not before
	Mapped                   int64    // of the model, once it is open
	Writable                 bool     // some of that mapping is
	Text                     string   // a short answer
}

// openInChild opens a model in a process of its own, which gets it through a
// pipe from write, in a folder where it can write nothing.
func openInChild(t *testing.T, write func(io.Writer) error) childReport {
	t.Helper()
	library, err := libllama.Find("")
	if err != nil {
		t.Fatal(err)
	}
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	report := filepath.Join(t.TempDir(), "report")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestOpenInChild$")
	cmd.Dir = "/proc/self"
	cmd.Env = []string{childEnv + "=" + report, libllama.DirEnv + "=" + filepath.Dir(library), "TMPDIR=/proc/self", "HOME=/proc/self"}
	cmd.Stdin = in
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	err = write(out)
	out.Close()
	if waitErr := cmd.Wait(); waitErr != nil || err != nil {
		t.Fatalf("writing the model: %v; the child: %v\n%s", err, waitErr, &log)
	}
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	var r childReport
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOpenInChild is the child.
func TestOpenInChild(t *testing.T) {
	report := os.Getenv(childEnv)
	if report == "" {
		t.Skip("this test is the child process of others")
	}
	var r childReport
	before := openFiles(t)
	written := procNumber(t, "/proc/self/io", "write_bytes:")
	stop := watchOwn(t, &r.Own)
	in := &observed{r: os.Stdin, each: func() { r.FilesReading = newFiles(before, openFiles(t), r.FilesReading) }}
	m, err := llama.Open(t.Context(), llama.Options{ModelReader: in, Threads: 1, ContextSize: 256, MaxSequences: 1, BatchSize: 32})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	r.Written = procNumber(t, "/proc/self/io", "write_bytes:") - written
	r.FilesAfter = newFiles(before, openFiles(t), nil)
	r.Mapped, r.Writable = mappedModel(t)
	// Computing must not bring up another copy of the weights either.
	got, err := generate(t, m, inference.Request{Prompt: deductiblePrompt, MaxTokens: 24})
	if err != nil {
		t.Fatal(err)
	}
	r.Text = got.text
	r.Peak = procNumber(t, "/proc/self/status", "VmHWM:") << 10
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(report, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// observed calls each now and then while it is read.
type observed struct {
	r     io.Reader
	each  func()
	reads int
}

func (o *observed) Read(p []byte) (int, error) {
	if o.reads++; o.reads%16 == 1 {
		o.each()
	}
	return o.r.Read(p)
}

// openFiles returns where the descriptors of this process lead, except into
// /proc, where watchOwn looks.
func openFiles(t *testing.T) map[string]bool {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]bool{}
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			files[to] = true
		}
	}
	return files
}

// newFiles appends what is in now, and neither in before nor in known.
func newFiles(before, now map[string]bool, known []string) []string {
	for _, k := range known {
		delete(now, k)
	}
	for name := range now {
		if !before[name] {
			known = append(known, name)
		}
	}
	return known
}

// mappedModel returns how much of the model's memory is mapped.
func mappedModel(t *testing.T) (size int64, writable bool) {
	data, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, "memfd:nitroseal-model") {
			var begin, end int64
			var mode string
			if _, err := fmt.Sscanf(line, "%x-%x %s", &begin, &end, &mode); err != nil {
				t.Fatal(err)
			}
			size += end - begin
			writable = writable || strings.Contains(mode, "w")
		}
	}
	return size, writable
}

// procNumber returns the number behind a name in a file of /proc.
func procNumber(t *testing.T, file, name string) int64 {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0
}

// watchOwn keeps the most of RssAnon and RssFile in most, until stop.
func watchOwn(t *testing.T, most *int64) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	look := func() {
		*most = max(*most, (procNumber(t, "/proc/self/status", "RssAnon:")+procNumber(t, "/proc/self/status", "RssFile:"))<<10)
	}
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				look()
			}
		}
	})
	return func() {
		close(done)
		wg.Wait()
		look()
	}
}
