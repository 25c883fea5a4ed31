package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// measurement is one column of the table.
type measurement struct {
	title string
	unit  string
	of    func(ctx context.Context, c client, each time.Duration) (float64, error)
}

var measurements = []measurement{
	{"unary 64 B, p50", "µs", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		all, err := latencies(ctx, c, each)
		return quantile(all, 0.50), err
	}},
	{"64 callers × 1 KiB", "k/s", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		n, took, err := throughput(ctx, c, 64, 1<<10, each)
		return n / took.Seconds() / 1e3, err
	}},
	{"4 callers × 1 MiB", "MB/s", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		n, took, err := throughput(ctx, c, 4, 1<<20, each)
		return n * (1 << 20) / took.Seconds() / 1e6, err
	}},
	{"stream of 32 B", "k/s", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		n, began := 0, time.Now()
		err := c.stream(ctx, func() bool { n++; return n%256 != 0 || time.Since(began) < each })
		return float64(n) / time.Since(began).Seconds() / 1e3, err
	}},
	{"its first message", "µs", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		var all []time.Duration
		for began := time.Now(); time.Since(began) < each/3; {
			asked := time.Now()
			if err := c.stream(ctx, func() bool { all = append(all, time.Since(asked)); return false }); err != nil {
				return 0, err
			}
		}
		return quantile(all, 0.50), nil
	}},
	{"unary p99", "µs", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		all, err := latencies(ctx, c, each)
		return quantile(all, 0.99), err
	}},
	{"p99 beside a stalled stream", "µs", func(ctx context.Context, c client, each time.Duration) (float64, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		if err := c.stall(ctx); err != nil {
			return 0, err
		}
		all, err := latencies(ctx, c, each)
		return quantile(all, 0.99), err
	}},
}

// compare measures and prints the table.
func compare(out io.Writer, rounds int, each time.Duration, only, who string) error {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, p := range peers { // names with a slash are in a folder
		if err := os.MkdirAll(filepath.Dir(socket(dir, p.name)), 0o700); err != nil {
			return err
		}
	}
	stop, err := startServer(dir)
	if err != nil {
		return err
	}
	defer stop()
	results := map[string]map[string][]float64{}
	for range rounds {
		for _, m := range measurements {
			if !strings.Contains(m.title, only) {
				continue
			}
			if results[m.title] == nil {
				results[m.title] = map[string][]float64{}
			}
			for _, p := range peers {
				if who != "" && !slices.Contains(strings.Split(who, ","), p.name) {
					continue
				}
				v, err := once(dir, p, m, each)
				if errors.Is(err, errNoStreams) {
					continue
				}
				if err != nil {
					return fmt.Errorf("%s: %s: %w", p.name, m.title, err)
				}
				results[m.title][p.name] = append(results[m.title][p.name], v)
			}
		}
	}
	print(out, results)
	return nil
}

// once measures on a connection of its own, which is warm.
func once(dir string, p peer, m measurement, each time.Duration) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := p.dial(socket(dir, p.name))
	if err != nil {
		return 0, err
	}
	defer c.close()
	for range 50 { // warm up
		if _, err := c.echo(ctx, make([]byte, 64)); err != nil {
			return 0, err
		}
	}
	return m.of(ctx, c, each)
}

func latencies(ctx context.Context, c client, each time.Duration) ([]time.Duration, error) {
	var all []time.Duration
	msg := make([]byte, 64)
	for began := time.Now(); time.Since(began) < each; {
		asked := time.Now()
		if _, err := c.echo(ctx, msg); err != nil {
			return nil, err
		}
		all = append(all, time.Since(asked))
	}
	return all, nil
}

func throughput(ctx context.Context, c client, callers, size int, each time.Duration) (n float64, took time.Duration, err error) {
	var mu sync.Mutex
	var all sync.WaitGroup
	began := time.Now()
	for i := range callers {
		all.Go(func() {
			msg := bytes.Repeat([]byte{byte(i)}, size)
			done := 0
			for time.Since(began) < each {
				back, e := c.echo(ctx, msg)
				if e == nil && !bytes.Equal(back, msg) {
					e = errors.New("a wrong answer")
				}
				if e != nil {
					mu.Lock()
					err = e
					mu.Unlock()
					return
				}
				done++
			}
			mu.Lock()
			n += float64(done)
			mu.Unlock()
		})
	}
	all.Wait()
	return n, time.Since(began), err
}

// quantile is in microseconds.
func quantile(all []time.Duration, q float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return float64(all[int(q*float64(len(all)-1))].Nanoseconds()) / 1e3
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// print writes a table in Markdown, with each figure's ratio to ours.
func print(out io.Writer, results map[string]map[string][]float64) {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	fmt.Fprint(w, "|\t")
	for _, p := range peers {
		fmt.Fprintf(w, "| %s\t", p.name)
	}
	fmt.Fprint(w, "|\n| ---\t")
	for range peers {
		fmt.Fprint(w, "| ---\t")
	}
	fmt.Fprintln(w, "|")
	for _, m := range measurements {
		if results[m.title] == nil {
			continue
		}
		fmt.Fprintf(w, "| %s, %s\t", m.title, m.unit)
		ours := 0.0
		if all := results[m.title]["vsockrpc"]; len(all) > 0 {
			ours = median(all)
		}
		for _, p := range peers {
			all := results[m.title][p.name]
			if len(all) == 0 {
				fmt.Fprint(w, "| –\t")
				continue
			}
			v := median(all)
			fmt.Fprintf(w, "| %.4g (%.2f)\t", v, v/ours)
		}
		fmt.Fprintln(w, "|")
	}
	w.Flush()
}
