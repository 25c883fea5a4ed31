package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

const modelConvertAbout = `
Makes a GGUF file of a BLOOM model in the form in which Hugging Face has it: a
folder with config.json, tokenizer.json and weights in safetensors. It needs
little memory, whatever the size of the model. The SHA-256 that it prints is
the same wherever the same folder is converted.
`

var modelTypes = map[string]gguf.TensorType{"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0}

func runModelConvert(ctx context.Context, args []string, s streams) error {
	fs := newFlags("model convert", modelConvertAbout, s)
	from := fs.String("from", "", "`folder` of the model (required)")
	path := fs.String("o", "", "`file` to write (required)")
	typ := fs.String("type", "q8_0", "how to store weights: f32, f16 or q8_0")
	name := fs.String("name", "", "what the model calls itself")
	if err := parse(fs, args, s); err != nil {
		return err
	}
	if *from == "" || *path == "" {
		return badUsage(fs, "-from and -o are required")
	}
	t, ok := modelTypes[*typ]
	if !ok {
		return badUsage(fs, "-type is %q, not one of %s", *typ, strings.Join(slices.Sorted(maps.Keys(modelTypes)), ", "))
	}
	m := newMeter(s.err)
	digest, err := convertModel(ctx, *from, *path, gguf.Options{Type: t, Name: *name, Progress: m.show})
	m.end()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(s.out, "%s  %s\n", digest, *path)
	return err
}

// convertModel writes the file under another name and renames it when it is
// whole. A failure leaves nothing.
func convertModel(ctx context.Context, folder, path string, opts gguf.Options) (digest string, err error) {
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return "", err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	h := sha256.New()
	err = gguf.Convert(ctx, os.DirFS(folder), io.MultiWriter(out, h), opts)
	if err == nil {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", h.Sum(nil)), os.Rename(out.Name(), path)
}
