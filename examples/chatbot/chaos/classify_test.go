package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/nitroseal/nitroseal/attest"
	"github.com/nitroseal/nitroseal/envelope"
	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/chat"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

func TestClassify(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want class
	}{
		{wire.ReasonOverloaded, "overloaded"},
		{fmt.Errorf("the parent cannot be reached: %w", wire.ReasonParent), "parent_unavailable"},
		{fmt.Errorf("%w (%w)", wire.ReasonDeadline, context.DeadlineExceeded), "deadline_exceeded"},
		{context.Canceled, cancelled},
		{fmt.Errorf("%w (unexpected EOF)", session.ErrTruncated), truncated},
		{session.ErrSegment, forged},
		{session.ErrOrder, disordered},
		{session.ErrTooLarge, oversized},
		{session.ErrMalformed, malformed},
		{session.ErrConfigExpired, configExpired},
		{session.ErrConfig, badConfig},
		{attest.ErrExpired, documentExpired},
		{attest.ErrUntrusted, documentUntrusted},
		{attest.ErrPolicy, policyUnmet},
		{chat.ErrKey, anotherKey},
		{&envelope.KMSError{Op: "Encrypt", Err: errors.New("x")}, ownKMS},
		{errors.New("something"), untyped},
		// The caller cannot tell what that was, only that it took too long.
		{context.DeadlineExceeded, untyped},
		{session.ErrClosed, untyped},
	} {
		if got := classify(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// No cell may allow what nobody can act upon, and each must say what it is.
func TestCells(t *testing.T) {
	all := cells()
	seen := map[string]bool{}
	played := 0
	for _, c := range all {
		if c.hop == "" || c.fault == "" || seen[c.name()] {
			t.Errorf("%q is no name, or another's", c.name())
		}
		seen[c.name()] = true
		if c.allows(untyped) {
			t.Errorf("%s allows errors without a type", c.name())
		}
		if c.skip != "" {
			if c.inject != nil || c.inside != nil || c.how != "" {
				t.Errorf("%s is not done, and is", c.name())
			}
			continue
		}
		played++
		if (c.inject == nil) == (c.inside == nil) || c.how == "" {
			t.Errorf("%s: one fault, and how it is made", c.name())
		}
	}
	if played < 40 {
		t.Errorf("%d cells, want 40 at least", played)
	}
}
