package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nitroseal/nitroseal/inference/fetch"
)

const modelFetchAbout = `
Downloads a model file. Take -sha256 from somewhere else than the file: only a
file with that digest appears under the name -o. A download that was cut off
goes on where it stopped when the same command is run again, also with another
URL for the same file, as signed URLs are. HTTPS_PROXY is honoured.
`

func runModelFetch(ctx context.Context, args []string, s streams) error {
	fs := newFlags("model fetch", modelFetchAbout, s)
	opts := fetch.Options{}
	fs.StringVar(&opts.URL, "url", "", "`URL` of the file, https:// (required)")
	fs.StringVar(&opts.SHA256, "sha256", "", "SHA-256 that the file must have, in `hexadecimal` (required)")
	fs.StringVar(&opts.Path, "o", "", "`file` to write (required)")
	fs.Int64Var(&opts.MaxBytes, "max-bytes", 64<<30, "most `bytes` to accept")
	fs.DurationVar(&opts.StallTimeout, "stall-timeout", 0, "longest time without a byte, 30s if 0")
	fs.IntVar(&opts.Retries, "retries", 0, "how often to try again when attempts bring nothing, 8 `times` if 0")
	fs.BoolVar(&opts.Overwrite, "overwrite", false, "replace a file with another digest")
	fs.BoolVar(&opts.AllowHTTP, "allow-http", false, "allow http://: the network learns what is fetched, the digest still decides")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if opts.URL == "" || opts.SHA256 == "" || opts.Path == "" {
		return badUsage(fs, "-url, -sha256 and -o are required")
	}
	m := newMeter(s.err)
	opts.Progress = func(p fetch.Progress) { m.show(p.Done, p.Total) }
	opts.Logger = slog.New(slog.NewTextHandler(m, nil))
	err := fetch.File(ctx, opts)
	m.end()
	switch {
	case errors.Is(err, context.Canceled):
		return errStopped
	case err != nil:
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s  %s\n", strings.ToLower(opts.SHA256), opts.Path)
	return err
}
