// Package step tells a user what each part of the pipeline just did, a line a
// step, in sizes, times and measurements only. It takes no bytes of any
// message, so it has none to leak.
package step

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// A Printer writes the lines of one role. A nil Printer is silent. It is safe
// for concurrent use.
type Printer struct {
	mu   sync.Mutex
	w    io.Writer
	role string
}

// New returns a Printer for role that writes to w.
func New(w io.Writer, role string) *Printer { return &Printer{w: w, role: role} }

// Print writes one step: its number in the pipeline, its name, what happened
// and, unless took is 0, how long it took.
func (p *Printer) Print(n int, name string, took time.Duration, format string, args ...any) {
	if p == nil {
		return
	}
	line := fmt.Sprintf("%-8s %d %-9s %s", p.role, n, name, fmt.Sprintf(format, args...))
	if took > 0 {
		line += fmt.Sprintf("  [%.1f ms]", float64(took)/float64(time.Millisecond))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.w, line)
}
