package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMeter tells of 100 MB at 2 MB/s, with 20 MB there before.
func TestMeter(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		total    int64
		lines    int
		want     []string
	}{
		{"terminal", true, 100e6, 41, []string{
			" 20% [####....................] 20.0 of 100.0 MB\x1b[K\r",
			"\r 50% [############............] 50.0 of 100.0 MB  2.0 MB/s  ETA 0:25\x1b[K\r",
			"\r100% [########################] 100.0 of 100.0 MB  2.0 MB/s\x1b[K\n",
		}},
		{"terminal, size unknown", true, -1, 41, []string{"\r50.0 MB  2.0 MB/s\x1b[K\r", "\r100.0 MB  2.0 MB/s\x1b[K\n"}},
		{"file", false, 100e6, 8, []string{
			" 30% 30.0 of 100.0 MB  2.0 MB/s  ETA 0:35\n", " 90% 90.0 of 100.0 MB  2.0 MB/s  ETA 0:05\n", "100% 100.0 of 100.0 MB  2.0 MB/s\n",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			now := time.Unix(0, 0)
			m := &meter{w: &out, terminal: tt.terminal, now: func() time.Time { return now }}
			for done := int64(20e6); done <= 100e6; done += 2e6 {
				for range 10 { // more often than it is told
					m.show(done, tt.total)
				}
				now = now.Add(time.Second)
			}
			now = now.Add(-time.Second)
			m.end()
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("without %q: %q", want, &out)
				}
			}
			// The last state is told again at the end.
			if n := strings.Count(out.String(), "\x1b[K") - 1; tt.terminal && n != tt.lines {
				t.Errorf("told %d times", n)
			}
			if n := strings.Count(out.String(), "\n"); !tt.terminal && n != tt.lines+1 || tt.terminal && n != 1 {
				t.Errorf("%d lines", n)
			}
		})
	}
}

// TestMeterSpeed: the speed is that of the last seconds, and starting over
// begins a new one.
func TestMeterSpeed(t *testing.T) {
	var out strings.Builder
	now := time.Unix(0, 0)
	m := &meter{w: &out, terminal: true, now: func() time.Time { return now }}
	done := int64(0)
	run := func(seconds int, rate int64, want string) {
		t.Helper()
		for range seconds {
			now = now.Add(time.Second)
			done += rate
			m.show(done, 1e9)
		}
		if line := m.line(now); !strings.Contains(line, fmt.Sprintf("  %s MB/s", want)) {
			t.Errorf("%q, want %s MB/s", line, want)
		}
	}
	run(20, 1e6, "1.0")
	run(20, 30e6, "30.0")
	done = 0
	m.show(done, 1e9)
	run(3, 5e6, "5.0")
}

// TestMeterLog: a line for the log takes the place of the bar.
func TestMeterLog(t *testing.T) {
	var out strings.Builder
	m := &meter{w: &out, terminal: true, now: time.Now}
	m.show(1, 2)
	fmt.Fprintln(m, "interrupted")
	if got := out.String(); !strings.HasSuffix(got, "\x1b[K\r\x1b[Kinterrupted\n") {
		t.Errorf("%q", got)
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0:00", 59499 * time.Millisecond: "0:59", time.Minute: "1:00", 3723 * time.Second: "1:02:03"} {
		if got := clock(d); got != want {
			t.Errorf("%v: %s", d, got)
		}
	}
}

func TestIsTerminal(t *testing.T) {
	f, err := os.Create(t.TempDir() + "/f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if isTerminal(f) || isTerminal(&strings.Builder{}) {
		t.Error("a file is a terminal")
	}
}
