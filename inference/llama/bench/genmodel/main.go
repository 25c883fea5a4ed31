// Genmodel writes the model that the measurements are made with: random weights
// in the shape of bloom-560m, stored as q8_0, about 604 MB. See package bloom.
//
//	go run ./genmodel -o bloom560m-q8_0.gguf [-layers 24] [-seed 1]
//
// It prints the file's SHA-256. Equal flags give equal files.
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/nitroseal/nitroseal/inference/llama/bench/bloom"
)

func main() {
	out := flag.String("o", "", "file to write")
	layers := flag.Int("layers", 24, "number of layers, 24 as in bloom-560m")
	seed := flag.Uint64("seed", 1, "of the random weights")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 || *layers < 1 {
		flag.Usage()
		os.Exit(2)
	}
	digest, err := write(*out, bloom.Shape{Layers: *layers, Seed: *seed})
	if err != nil {
		fmt.Fprintln(os.Stderr, "genmodel:", err)
		os.Exit(1)
	}
	fmt.Printf("%s  %s\n", digest, *out)
}

// write makes the file and returns its SHA-256.
func write(name string, s bloom.Shape) (digest string, err error) {
	f, err := os.Create(name)
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	h := sha256.New()
	w := bufio.NewWriterSize(io.MultiWriter(f, h), 1<<20)
	err = s.Generate(w)
	if err := errors.Join(err, w.Flush(), f.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), nil
}
