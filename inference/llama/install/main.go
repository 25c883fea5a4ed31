// Command install makes sure that this machine has a libllama that package
// llama can use, and prints its folder.
//
//	go run github.com/nitroseal/nitroseal/inference/llama/install [-check] [-print-dir]
//
// It looks for one in the places where package llama looks. If there is none
// that loads, it fetches a pinned build with the npm client into the user's
// cache folder. With -check it fetches nothing and fails instead. With
// -print-dir it only prints the folder that it would fetch into.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
	"github.com/nitroseal/nitroseal/inference/llama/libllama"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("install", flag.ContinueOnError)
	flags.SetOutput(stderr)
	check := flags.Bool("check", false, "fetch nothing; fail if there is no usable library")
	printDir := flags.Bool("print-dir", false, "print the cache folder and stop")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *printDir {
		dir, err := libllama.CacheDir()
		if err != nil {
			return err
		}
		fmt.Fprintln(stdout, dir)
		return nil
	}
	path, err := libllama.Find("")
	if err == nil {
		var lib *native.Lib
		if lib, err = native.Load(path); err == nil {
			return report(stdout, lib)
		}
	}
	if *check {
		return err
	}
	if errors.Is(err, libllama.ErrNotFound) {
		fmt.Fprintln(stderr, "libllama is not installed yet: fetching it with npm, once")
	} else {
		fmt.Fprintf(stderr, "%v\nfetching another one with npm, once\n", err)
	}
	dir, err := libllama.Fetch(ctx)
	if err != nil {
		return err
	}
	if path, err = libllama.Find(dir); err != nil {
		return err
	}
	lib, err := native.Load(path)
	if err != nil {
		return err
	}
	return report(stdout, lib)
}

func report(w io.Writer, lib *native.Lib) error {
	_, err := fmt.Fprintf(w, "libllama %s in %s\n", lib.Version, filepath.Dir(lib.Path))
	return err
}
