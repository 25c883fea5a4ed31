package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/usage"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

func TestTally(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	tl := newTally()
	note := func(name string, begun, ended int, err error) {
		tl.note(name, at(begun), at(ended), 3*time.Second, err)
	}
	note("jdoe", 0, 1, nil)
	note("asmith", 0, 1, wire.ReasonDeadline)
	tl.heal(at(10))
	note("jdoe", 9, 11, nil)                       // asked before: proves nothing
	note("asmith", 9, 11, errors.New("something")) // asked before: no relapse
	if len(tl.first) != 0 || len(tl.relapses) != 0 {
		t.Errorf("%v, %v", tl.first, tl.relapses)
	}
	note("jdoe", 11, 13, nil)
	note("jdoe", 14, 15, nil)
	note("asmith", 11, 12, wire.ReasonDeadline)
	if len(tl.first) != 1 || !tl.first["jdoe"].Equal(at(13)) || len(tl.relapses) != 0 {
		t.Errorf("%v, %v", tl.first, tl.relapses)
	}
	note("jdoe", 16, 17, wire.ReasonDeadline)
	note("jdoe", 18, 27, nil) // 9 s, of which 3 + 5 are allowed
	note("jdoe", 28, 29, &exact.WrongError{Got: "for asmith"})
	if len(tl.relapses) != 1 || len(tl.late) != 1 || len(tl.wrong) != 1 || !strings.Contains(tl.wrong[0], "asmith") {
		t.Errorf("%v, %v, %v", tl.relapses, tl.late, tl.wrong)
	}
	if tl.good != 5 || tl.errors["deadline_exceeded"] != 3 || tl.errors[untyped] != 1 {
		t.Errorf("%d, %v", tl.good, tl.errors)
	}
	if tl.felt(of(wire.ReasonDeadline)) || !tl.felt([]class{"deadline_exceeded", untyped}) {
		t.Error("4 errors are enough, and 3 are not")
	}
}

// What judges a cell must find each thing that may not be.
func TestJudge(t *testing.T) {
	c := cell{must: of(wire.ReasonDeadline), may: of(wire.ReasonParent)}
	now := time.Now()
	for name, tt := range map[string]struct {
		err  error
		took time.Duration
		want string
	}{
		"good":       {nil, 1, ""},
		"must":       {wire.ReasonDeadline, 1, ""},
		"may":        {wire.ReasonParent, 1, ""},
		"not of it":  {wire.ReasonOverloaded, 1, "1 × overloaded, which this fault must not cause"},
		"no type":    {errors.New("x"), 1, "1 × UNTYPED"},
		"wrong":      {&exact.WrongError{Got: "Thanks, asmith."}, 1, "WRONG ANSWER"},
		"hangs":      {wire.ReasonDeadline, time.Minute, "no end at the deadline"},
		"good, late": {nil, time.Minute, "no end at the deadline"},
	} {
		tl := newTally()
		tl.note("jdoe", now, now.Add(tt.took), time.Second, tt.err)
		r := result{cell: c}
		judge(tl, &r)
		got := strings.Join(r.problems, "; ")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestTallyWaits(t *testing.T) {
	tl := newTally()
	done := make(chan bool)
	go func() { done <- tl.wait(t.Context(), func() bool { return tl.good == 2 }) }()
	for range 2 {
		tl.note("jdoe", time.Now(), time.Now(), time.Second, nil)
	}
	if !<-done {
		t.Error("two answers, and it did not see them")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if tl.wait(ctx, func() bool { return false }) {
		t.Error("it was ready")
	}
}

func TestLeaks(t *testing.T) {
	before := map[string]used{"parent": {Usage: usage.Usage{FDs: 10, RSS: 50 << 20, Threads: 9}}, "enclave": {Usage: usage.Usage{FDs: 20}}, "client": {goroutines: 30}}
	for name, tt := range map[string]struct {
		after map[string]used
		want  []string
	}{
		"the same":  {before, nil},
		"within":    {map[string]used{"parent": {Usage: usage.Usage{FDs: 10 + moreFDs, RSS: 50<<20 + moreRSS, Threads: 9 + moreThreads}}, "enclave": {}, "client": {goroutines: 30 + moreGoroutines}}, nil},
		"fds":       {map[string]used{"parent": {Usage: usage.Usage{FDs: 11 + moreFDs}}, "enclave": {}, "client": {}}, []string{"parent: 15 descriptors, 10 before"}},
		"memory":    {map[string]used{"parent": {Usage: usage.Usage{RSS: 51<<20 + moreRSS}}, "enclave": {}, "client": {}}, []string{"parent: 154140672 bytes of memory, 52428800 before"}},
		"goroutine": {map[string]used{"parent": {}, "enclave": {}, "client": {goroutines: 31 + moreGoroutines}}, []string{"client: 39 goroutines, 30 before"}},
		"gone":      {map[string]used{"parent": {}, "client": {}}, []string{"enclave: not running"}},
	} {
		if got := leaks(before, tt.after); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}
