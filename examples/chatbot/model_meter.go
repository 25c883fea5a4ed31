package main

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// meter tells how far a long work on a file is: on a terminal in one line that
// changes, elsewhere in a line every few seconds, for logs.
type meter struct {
	w        io.Writer
	terminal bool
	now      func() time.Time

	last    time.Time // when it told last
	shown   string    // on the terminal's current line
	samples []sample  // of the last few seconds, the oldest first
	done    int64
	total   int64
}

type sample struct {
	at   time.Time
	done int64
}

const (
	barEvery   = 100 * time.Millisecond
	lineEvery  = 5 * time.Second
	rateWindow = 10 * time.Second
	barWidth   = 24
)

func newMeter(w io.Writer) *meter {
	return &meter{w: w, terminal: isTerminal(w), now: time.Now}
}

// show takes note of how many bytes are done, of a total that is negative if
// it is not known, and tells if it is time to.
func (m *meter) show(done, total int64) {
	now := m.now()
	if len(m.samples) == 0 || done < m.done {
		// The beginning, or the work starts over. What an earlier run has
		// left counts as done, but not as speed.
		m.samples = []sample{{now, done}}
	}
	m.done, m.total = done, total
	newest := m.samples[len(m.samples)-1]
	if now.Sub(newest.at) >= rateWindow/20 {
		m.samples = append(m.samples, sample{now, done})
	}
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= rateWindow {
		m.samples = m.samples[1:]
	}
	every := lineEvery
	if m.terminal {
		every = barEvery
	}
	if m.last.IsZero() && !m.terminal {
		m.last = now // the first line after the first few seconds
	}
	if now.Sub(m.last) >= every {
		m.tell(now)
	}
}

func (m *meter) tell(now time.Time) {
	m.last = now
	if !m.terminal {
		fmt.Fprintf(m.w, "%s\n", m.line(now))
		return
	}
	m.shown = m.line(now)
	fmt.Fprintf(m.w, "\r%s\x1b[K", m.shown) // and nothing of a longer line before
}

// line is percent, bar, bytes, speed and time left, as far as they are known.
func (m *meter) line(now time.Time) string {
	var b strings.Builder
	if m.total > 0 {
		fmt.Fprintf(&b, "%3d%% ", m.done*100/m.total)
		if m.terminal {
			full := int(m.done * barWidth / m.total)
			fmt.Fprintf(&b, "[%s%s] ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full))
		}
		fmt.Fprintf(&b, "%s of %s MB", megabytes(m.done), megabytes(m.total))
	} else {
		fmt.Fprintf(&b, "%s MB", megabytes(m.done))
	}
	oldest := m.samples[0]
	took := now.Sub(oldest.at).Seconds()
	if took <= 0 || m.done <= oldest.done {
		return b.String()
	}
	rate := float64(m.done-oldest.done) / took
	fmt.Fprintf(&b, "  %.1f MB/s", rate/1e6)
	if m.total > m.done {
		left := time.Duration(float64(m.total-m.done) / rate * float64(time.Second))
		fmt.Fprintf(&b, "  ETA %s", clock(left))
	}
	return b.String()
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f", float64(n)/1e6) }

// clock writes a time as 1:02:03 or 2:03.
func clock(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	if s >= 3600 {
		return fmt.Sprintf("%d:%02d:%02d", s/3600, s/60%60, s%60)
	}
	return fmt.Sprintf("%d:%02d", s/60, s%60)
}

// Write passes on a line for a log, which replaces that of the terminal; the
// bar comes again below it.
func (m *meter) Write(p []byte) (int, error) {
	if m.shown != "" {
		fmt.Fprint(m.w, "\r\x1b[K")
		m.shown = ""
	}
	return m.w.Write(p)
}

// end tells the final state, if anything has been told, and ends the line.
func (m *meter) end() {
	if len(m.samples) == 0 {
		return
	}
	if m.terminal || m.last != m.samples[0].at {
		m.tell(m.now())
	}
	if m.terminal {
		fmt.Fprintln(m.w)
	}
}
