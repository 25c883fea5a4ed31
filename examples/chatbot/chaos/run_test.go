package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nitroseal/nitroseal/examples/chatbot/internal/exact"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/wire"
)

// The whole of a cell, on the pipeline in this process: with a fault that is
// felt and mended, and with failures to make one and to mend it.
func TestPlay(t *testing.T) {
	in, err := newInside(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	fails := steps(func(context.Context, int) error { return errors.New("chaos") })
	for name, tt := range map[string]struct {
		inject func(context.Context, *inside) (func() error, error)
		want   string
	}{
		"as expected": {fails, ""},
		"not made": {func(context.Context, *inside) (func() error, error) {
			return nil, errors.New("no tool")
		}, "making the fault: no tool"},
		"not mended": {func(ctx context.Context, in *inside) (func() error, error) {
			heal, err := fails(ctx, in)
			return func() error { return errors.Join(heal(), errors.New("no glue")) }, err
		}, "mending: no glue"},
	} {
		r := result{cell: cell{must: of(wire.ReasonInternal), hold: 1, within: time.Minute}}
		inject := func(ctx context.Context) (func() error, error) { return tt.inject(ctx, in) }
		play(t.Context(), in, inject, time.Minute, &r)
		got := strings.Join(r.problems, "; ")
		if got != tt.want {
			t.Errorf("%s: %q", name, got)
		}
		if tt.want == "" && (r.good < 3*len(exact.Names) || r.errors[class(wire.ReasonInternal)] < enough || r.recovered <= 0) {
			t.Errorf("%s: %s", name, r.summary())
		}
	}
}
