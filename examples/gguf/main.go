// Gguf shows what a model file holds, and makes one of a BLOOM model in the
// form in which Hugging Face has it.
//
//	gguf show FILE
//	gguf convert [-type f32|f16|q8_0] [-name NAME] FOLDER OUT.gguf
//
// It exits with 1 for a file or folder that is refused, and with 2 when called
// wrongly. A conversion that fails leaves no file.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

var types = map[string]gguf.TensorType{"f32": gguf.F32, "f16": gguf.F16, "q8_0": gguf.Q8_0}

func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	flags := flag.NewFlagSet("gguf", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	typ := flags.String("type", "q8_0", "")
	name := flags.String("name", "", "")
	var err error
	switch {
	case len(args) == 2 && args[0] == "show":
		err = show(args[1], out)
	case len(args) > 0 && args[0] == "convert" && flags.Parse(args[1:]) == nil && flags.NArg() == 2 && (types[*typ] != 0 || *typ == "f32"):
		err = convert(ctx, flags.Arg(0), flags.Arg(1), gguf.Options{Type: types[*typ], Name: *name}, errOut)
	default:
		fmt.Fprintln(errOut, "usage: gguf show FILE\n       gguf convert [-type f32|f16|q8_0] [-name NAME] FOLDER OUT.gguf")
		return 2
	}
	if err != nil {
		fmt.Fprintf(errOut, "gguf: %v\n", err)
		return 1
	}
	return 0
}

func show(path string, out io.Writer) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	f, err := gguf.Read(file, info.Size())
	if err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "GGUF version %d, %d pairs, %d tensors\n", f.Version, len(f.Metadata), len(f.Tensors))
	for _, kv := range f.Metadata {
		// Text of the file is quoted: it could hold control sequences for the
		// terminal.
		text := fmt.Sprintf("%v", kv.Value)
		switch v := reflect.ValueOf(kv.Value); v.Kind() {
		case reflect.String:
			text = fmt.Sprintf("%.200q", v.String())
		case reflect.Slice:
			text = fmt.Sprintf("%d × %v, first %.40q", v.Len(), v.Type().Elem(), fmt.Sprint(v.Slice(0, min(v.Len(), 3))))
		}
		fmt.Fprintf(w, "%-40s %s\n", kv.Key, text)
	}
	for _, t := range f.Tensors {
		fmt.Fprintf(w, "%-40q %-5v %d\n", t.Name, t.Type, t.Dims)
	}
	return w.Flush()
}

func convert(ctx context.Context, folder, path string, opts gguf.Options, progress io.Writer) (err error) {
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	percent := int64(-1)
	opts.Progress = func(done, total int64) {
		if p := done * 100 / total; p != percent {
			percent = p
			fmt.Fprintf(progress, "\r%3d%% of %d bytes", p, total)
		}
	}
	err = gguf.Convert(ctx, os.DirFS(folder), out, opts)
	if percent >= 0 {
		fmt.Fprintln(progress)
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}
