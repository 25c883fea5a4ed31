package terminal

import "strings"

// maxHistory bounds the lines that can be recalled.
const maxHistory = 500

// A history holds the lines that can be recalled at the prompt, in memory
// only: they are confidential. It implements term.History.
type history struct {
	lines  []string // the newest last
	closed bool     // takes nothing
}

// Add leaves out empty lines and repetitions.
func (h *history) Add(line string) {
	if h.closed || strings.TrimSpace(line) == "" || len(h.lines) > 0 && h.lines[len(h.lines)-1] == line {
		return
	}
	if len(h.lines) == maxHistory {
		copy(h.lines, h.lines[1:])
		h.lines = h.lines[:maxHistory-1]
	}
	h.lines = append(h.lines, line)
}

// Len is how many there are.
func (h *history) Len() int { return len(h.lines) }

// At returns a line; 0 is the newest.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }
