package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

const modelShowAbout = `
Tells what a GGUF file holds: its SHA-256, metadata and tensors. Text of the
file is shown quoted.
`

func runModelShow(_ context.Context, args []string, s streams) error {
	operands, err := parseOperands(newFlags("model show", modelShowAbout, s), args, s, 1, 1)
	if err != nil {
		return err
	}
	return showModel(operands[0], s.out)
}

// showModel writes text of the file quoted: it could hold control sequences for the
// terminal.
func showModel(path string, out io.Writer) error {
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
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(file, 0, info.Size())); err != nil {
		return err
	}
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "GGUF version %d, %d bytes, SHA-256 %x\n", f.Version, info.Size(), h.Sum(nil))
	weights := uint64(0)
	for _, t := range f.Tensors {
		weights += t.Elements()
	}
	fmt.Fprintf(w, "%d weights in %d tensors, %d pairs of metadata\n\n", weights, len(f.Tensors), len(f.Metadata))
	for _, kv := range f.Metadata {
		key := strconv.Quote(kv.Key)
		fmt.Fprintf(w, "%-40s %s\n", key[1:len(key)-1], shortValue(kv.Value))
	}
	fmt.Fprintln(w)
	for _, t := range f.Tensors {
		fmt.Fprintf(w, "%-40q %-5v %d\n", t.Name, t.Type, t.Dims)
	}
	return w.Flush()
}

// shortValue is a value in one line, of a list only the beginning.
func shortValue(value any) string {
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.String:
		return fmt.Sprintf("%.200q", v.String())
	case reflect.Slice:
		return fmt.Sprintf("%d × %v, first %.40q", v.Len(), v.Type().Elem(), fmt.Sprint(v.Slice(0, min(v.Len(), 3))))
	}
	return fmt.Sprint(value)
}
