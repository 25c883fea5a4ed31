package llama

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for _, tt := range []struct {
		name    string
		stops   []string
		pieces  []string
		want    []string // what each push returns
		flush   string
		stopped bool
	}{
		{name: "plain", pieces: []string{"a", "b"}, want: []string{"a", "b"}},
		{name: "split character", pieces: []string{"x\xe2", "\x82", "\xacy"}, want: []string{"x", "", "€y"}},
		{name: "cut character", pieces: []string{"x\xf0\x9f"}, want: []string{"x"}, flush: "\ufffd"},
		{name: "no UTF-8", pieces: []string{"\xff\xfe", "a"}, want: []string{"\ufffd\ufffd", "a"}},
		{name: "broken character", pieces: []string{"\xe2", "a"}, want: []string{"", "\ufffda"}},
		{name: "stop over borders", stops: []string{"STOP"}, pieces: []string{"a S", "TO", "P b"}, want: []string{"a ", "", ""}, stopped: true},
		{name: "no stop after all", stops: []string{"STOP"}, pieces: []string{"a ST", "AR"}, want: []string{"a ", "STAR"}},
		{name: "held at the end", stops: []string{"STOP"}, pieces: []string{"a ST"}, want: []string{"a "}, flush: "ST"},
		{name: "restart inside", stops: []string{"aab"}, pieces: []string{"a", "a", "a", "b"}, want: []string{"", "", "a", ""}, stopped: true},
		{name: "first of several", stops: []string{"z", "bc"}, pieces: []string{"abcz"}, want: []string{"a"}, stopped: true},
		{name: "stop of many bytes", stops: []string{"€!"}, pieces: []string{"\xe2\x82", "\xac", "!"}, want: []string{"", "", ""}, stopped: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := newText(tt.stops)
			stopped := false
			for i, p := range tt.pieces {
				var got string
				got, stopped = x.push([]byte(p))
				if got != tt.want[i] {
					t.Errorf("push %d: %q, want %q", i, got, tt.want[i])
				}
			}
			if stopped != tt.stopped {
				t.Errorf("stopped: %v, want %v", stopped, tt.stopped)
			}
			if got := x.flush(); got != tt.flush {
				t.Errorf("flush: %q, want %q", got, tt.flush)
			}
		})
	}
}

// FuzzText cuts text anywhere: what comes out must not depend on where.
func FuzzText(f *testing.F) {
	f.Add("hello STOP world", "STOP", uint8(3))
	f.Add("a\xe2\x82\xacb\xff", "\u20acb", uint8(1))
	f.Add("aaaab", "aab", uint8(1))
	f.Fuzz(func(t *testing.T, in, stop string, cut uint8) {
		if stop == "" || !utf8.ValidString(stop) || len(in) > 1000 {
			return
		}
		x := newText([]string{stop})
		var out strings.Builder
		stopped := false
		for rest := in; rest != "" && !stopped; {
			n := min(len(rest), int(cut%7)+1)
			var s string
			s, stopped = x.push([]byte(rest[:n]))
			rest = rest[n:]
			out.WriteString(s)
		}
		if !stopped {
			out.WriteString(x.flush())
		}
		got := out.String()
		if !utf8.ValidString(got) || stopped && strings.Contains(got, stop) {
			t.Errorf("%q came out as %q", in, got)
		}
		if utf8.ValidString(in) {
			if want, _, _ := strings.Cut(in, stop); got != want {
				t.Errorf("%q came out as %q, want %q", in, got, want)
			}
		}
	})
}

func TestRuns(t *testing.T) {
	for _, tt := range []struct {
		text string
		ok   bool
	}{
		{"", true},
		{strings.Repeat("a", maxRun), true},
		{strings.Repeat("a", maxRun+1), false},
		{strings.Repeat("\u00e9", maxRun), true},
		{strings.Repeat("word ", 50_000), true},
		{strings.Repeat("\u00a0a", maxRun), false},
		{strings.Repeat(" ", maxRun+1), false},
		{strings.Repeat("\u00a0\n", maxRun), false},
		{strings.Repeat("\n/", maxRun), false},
		{strings.Repeat("-", maxRun/2) + strings.Repeat("\n", maxRun/2), true},
		{strings.Repeat("-", maxRun) + "\n", false},
		{strings.Repeat("- ", 50_000), true},
		{strings.Repeat("/\n9", 50_000), true},
	} {
		if err := checkRuns(tt.text); (err == nil) != tt.ok {
			t.Errorf("%d bytes of %.8q: %v", len(tt.text), tt.text, err)
		}
	}
}
