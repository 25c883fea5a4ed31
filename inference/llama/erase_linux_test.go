package llama

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/ebitengine/purego"

	"github.com/nitroseal/nitroseal/inference"
)

// TestErased looks for the keys and values of a request in all of the
// process's memory: they are there while they are kept for a scope, and gone
// once the scope is forgotten, although no other request has come.
func TestErased(t *testing.T) {
	m := openForTest(t)
	h, err := purego.Dlopen(m.lib.Path, purego.RTLD_NOW)
	if err != nil {
		t.Fatal(err)
	}
	var stateSize func(c uintptr, seq int32) uintptr
	var stateData func(c uintptr, dst *byte, size uintptr, seq int32) uintptr
	purego.RegisterLibFunc(&stateSize, h, "llama_state_seq_get_size")
	purego.RegisterLibFunc(&stateData, h, "llama_state_seq_get_data")

	for _, err := range m.Generate(t.Context(), inference.Request{Prompt: "Question: i can't access my email, my username is zorbaquin\nAnswer:", CacheScope: "a"}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	// The scheduler is idle and what it kept cannot change.
	if n := m.Stats().Prefixes; n != 1 {
		t.Fatalf("%d sequences hold something", n)
	}
	c, seq := uintptr(m.sched.context), m.sched.slots.all[0].id
	state := make([]byte, stateSize(c, seq))
	if n := stateData(c, &state[0], uintptr(len(state)), seq); n != uintptr(len(state)) || n < 4096 {
		t.Fatalf("a state of %d bytes", n)
	}
	// Part of the first layer's keys, kept inverted so that this copy is not
	// found itself.
	const length = 192
	pattern := make([]byte, length)
	for i := range pattern {
		pattern[i] = ^state[len(state)/8+i]
	}
	clear(state)
	if bytes.Count(pattern, []byte{0xff}) > length/2 {
		t.Fatalf("the pattern is mostly zero: % x", pattern)
	}
	if n := search(t, pattern); n == 0 {
		t.Fatal("the keys are not found while they are kept: the search is no good")
	}
	m.Forget("a")
	if n := search(t, pattern); n != 0 {
		t.Errorf("the keys are found %d times after they were forgotten", n)
	}
	runtime.KeepAlive(state)
}

// TestErasedByItself waits until the cache is overwritten after a request that
// leaves nothing.
func TestErasedByItself(t *testing.T) {
	m := openForTest(t)
	for _, err := range m.Generate(t.Context(), inference.Request{Prompt: "Question:", MaxTokens: 2}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	dirty := func() bool {
		m.sched.mu.Lock()
		defer m.sched.mu.Unlock()
		return m.sched.dirty
	}
	if !dirty() {
		t.Fatal("overwritten at once, which the next request would wait for")
	}
	for dirty() {
		runtime.Gosched()
	}
}

// search counts how often the inverse of pattern is in the memory of the
// process.
func search(t *testing.T, pattern []byte) int {
	t.Helper()
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		t.Fatal(err)
	}
	defer maps.Close()
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Fatal(err)
	}
	defer mem.Close()
	found, searched := 0, 0
	buf := make([]byte, 1<<20)
	for s := bufio.NewScanner(maps); s.Scan(); {
		var from, to uint64
		var mode string
		if _, err := fmt.Sscanf(s.Text(), "%x-%x %s", &from, &to, &mode); err != nil {
			t.Fatal(err)
		}
		// Anonymous memory that can be written to.
		if !strings.HasPrefix(mode, "rw") || strings.Contains(s.Text(), "/") {
			continue
		}
		for at := from; at < to; at += uint64(len(buf) - len(pattern)) {
			n, err := mem.ReadAt(buf[:min(uint64(len(buf)), to-at)], int64(at))
			if err != nil && err != io.EOF && n == 0 {
				break // cannot be read, such as the guard of a stack
			}
			searched += n
			found += count(buf[:n], pattern)
		}
	}
	clear(buf)
	if searched < 1<<20 {
		t.Fatalf("only %d bytes of memory could be read", searched)
	}
	return found
}

// count counts the inverse of pattern in b.
func count(b, pattern []byte) int {
	n := 0
	for {
		i := bytes.IndexByte(b, ^pattern[0])
		if i < 0 || i+len(pattern) > len(b) {
			return n
		}
		if inverse(b[i:], pattern) {
			n++
		}
		b = b[i+1:]
	}
}

func inverse(b, pattern []byte) bool {
	for k, p := range pattern {
		if b[k] != ^p {
			return false
		}
	}
	return true
}
