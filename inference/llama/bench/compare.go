package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"text/tabwriter"
)

const ours = "ours"

// comparison collects figures.
type comparison struct {
	options
	log     io.Writer
	titles  []row
	figures map[string]map[string][]float64 // by title and side
	engine  string                          // what our side says that it runs on
	backend string                          // the file with ggml's code for this CPU
}

// measure does a scenario once with each side. The sides change who is first
// from round to round.
func (c *comparison) measure(ctx context.Context, s scenario, round int) error {
	sides := []func(ctx context.Context) error{
		func(ctx context.Context) error {
			r, err := c.runOurs(ctx, s.task(newWords(round)))
			if err != nil {
				return fmt.Errorf("ours: %w", err)
			}
			c.engine, c.backend = r.Engine, r.Backend
			c.add(s, ours, r.Waves)
			return nil
		},
		func(ctx context.Context) error {
			switch {
			case s.peer == llamaBench && c.bench != "":
				rate, err := c.runBench(ctx, s.bench)
				if err != nil {
					return err
				}
				c.put(s.rows[0], string(llamaBench), rate)
			case s.peer == llamaServer && c.server != "":
				waves, err := c.runServer(ctx, s.task(newWords(round)))
				if err != nil {
					return err
				}
				c.add(s, string(llamaServer), waves)
			}
			return nil
		},
	}
	if round%2 == 1 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for _, side := range sides {
		if err := c.within(ctx, side); err != nil {
			return err
		}
	}
	return nil
}

// within gives a measurement its time. Threads that compute wait for each
// other in loops, so that on a busy machine one may take for ever.
func (c *comparison) within(ctx context.Context, side func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("not done after %v: is the machine busy?", c.timeout))
	defer cancel()
	err := side(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (c *comparison) add(s scenario, side string, waves [][]trace) {
	for _, r := range s.rows {
		c.put(r, side, r.of(waves))
	}
}

func (c *comparison) put(r row, side string, figure float64) {
	if c.figures[r.title] == nil {
		c.figures[r.title] = map[string][]float64{}
		c.titles = append(c.titles, r)
	}
	c.figures[r.title][side] = append(c.figures[r.title][side], figure)
	if c.verbose {
		fmt.Fprintf(c.log, "%s, %s, %s: %.4g\n", r.title, r.unit, side, figure)
	}
}

// print writes a table in Markdown. The ratio is over 1 where ours is better.
func (c *comparison) print(out io.Writer, f facts) {
	fmt.Fprintf(out, "%s, %s, %d cores, %d threads, %s (%s), load before %.2f, %d rounds\n\n",
		f.date, f.cpu, f.cores, f.threads, c.engine, filepath.Base(c.backend), f.load, c.rounds)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "|\t| unit\t| ours\t| llama-server\t| llama-bench\t| ratio\t|\n| ---\t| ---\t| ---\t| ---\t| ---\t| ---\t|\n")
	for _, r := range c.titles {
		fmt.Fprintf(w, "| %s\t| %s\t", r.title, r.unit)
		sides := c.figures[r.title]
		own, theirs := 0.0, 0.0
		for _, side := range []string{ours, string(llamaServer), string(llamaBench)} {
			if len(sides[side]) == 0 {
				fmt.Fprint(w, "| –\t")
				continue
			}
			v := r.over(sides[side])
			fmt.Fprintf(w, "| %s\t", digits(v))
			if side == ours {
				own = v
			} else {
				theirs = v
			}
		}
		switch {
		case theirs == 0 || own == 0:
			fmt.Fprint(w, "| –\t|\n")
		case r.more:
			fmt.Fprintf(w, "| %.2f\t|\n", own/theirs)
		default:
			fmt.Fprintf(w, "| %.2f\t|\n", theirs/own)
		}
	}
	w.Flush()
}

// digits writes four digits, or all before the point.
func digits(v float64) string {
	if v >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.4g", v)
}
