package eif_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nitroseal/nitroseal/attest/eif"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

var errOwn = errors.New("disk on fire")

// badSeeker is a file that cannot be read, or not be measured.
type badSeeker struct {
	io.Reader
	size int64
	err  error
}

func (b badSeeker) Seek(int64, int) (int64, error) { return b.size, b.err }

// fullDisk fails after some writes.
type fullDisk struct {
	io.WriteSeeker
	writes int
}

func (f *fullDisk) Write(p []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		return 0, errOwn
	}
	return f.WriteSeeker.Write(p)
}

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/attest-eif.md.
func TestBadInput(t *testing.T) {
	image, err := os.ReadFile("testdata/eif-signed.eif")
	if err != nil {
		t.Fatal(err)
	}
	badinput.Table{
		Package: "attest/eif",
		Cases:   append(readCases(image), buildCases(t)...),
		NoInput: []string{"SectionType.String"},
	}.Run(t)
}

func readCases(image []byte) []badinput.Case {
	format := badinput.Is("eif.ErrFormat", eif.ErrFormat)
	read := func(r io.Reader) func(context.Context) error {
		return func(context.Context) error {
			_, err := eif.Read(r)
			return err
		}
	}
	changed := slices.Clone(image)
	changed[600] ^= 1
	huge := slices.Clone(image)
	for i := range 8 { // the size of the first section
		huge[16+32*8+i] = 0xff
	}
	return []badinput.Case{
		{Func: "Read", Input: "a nil reader", Want: format, Call: read(nil)},
		{Func: "Read", Input: "nothing", Want: format, Call: read(strings.NewReader(""))},
		{Func: "Read", Input: "text", Want: format, Call: read(strings.NewReader(strings.Repeat(badinput.Canary+"\n", 100)))},
		{Func: "Read", Input: "half of an image", Want: format, Call: read(bytes.NewReader(image[:len(image)/2]))},
		{Func: "Read", Input: "an image with bytes behind it", Want: format, Call: read(io.MultiReader(bytes.NewReader(image), strings.NewReader("x")))},
		{Func: "Read", Input: "a section of 2^64-1 bytes", Want: format, Call: read(bytes.NewReader(huge))},
		{Func: "Read", Input: "a changed kernel", Want: badinput.Is("eif.ErrChecksum", eif.ErrChecksum), Call: read(bytes.NewReader(changed))},
		{Func: "Read", Input: "a changed kernel, with its checksum", Want: badinput.Is("eif.ErrSignature", eif.ErrSignature), Call: read(bytes.NewReader(withCRC(slices.Clone(changed))))},
		{Func: "Read", Input: "a reader that fails half way", Want: badinput.Own("the reader's error", errOwn),
			Call: read(io.MultiReader(bytes.NewReader(image[:len(image)/2]), iotest.ErrReader(errOwn)))},
	}
}

func buildCases(t *testing.T) []badinput.Case {
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := func() eif.BuildOptions {
		return eif.BuildOptions{Kernel: strings.NewReader("kernel"), Cmdline: "quiet", Ramdisks: []io.ReadSeeker{strings.NewReader("init")}}
	}
	dir := t.TempDir()
	files := 0
	file := func() *os.File {
		files++
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(files)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	build := func(change func(*eif.BuildOptions)) func(context.Context) error {
		return func(context.Context) error {
			opts := good()
			change(&opts)
			_, err := eif.Build(file(), opts)
			return err
		}
	}
	cases := []badinput.Case{
		{Func: "Build", Input: "a nil writer", Want: badinput.Plain(), Call: func(context.Context) error { _, err := eif.Build(nil, good()); return err }},
		{Func: "Build", Input: "a writer that fails at once", Want: badinput.Own("the writer's error", errOwn), Call: func(context.Context) error {
			_, err := eif.Build(&fullDisk{file(), 0}, good())
			return err
		}},
		{Func: "Build", Input: "a writer that fails half way", Want: badinput.Own("the writer's error", errOwn), Call: func(context.Context) error {
			_, err := eif.Build(&fullDisk{file(), 4}, good())
			return err
		}},
	}
	own := badinput.Own("the reader's error", errOwn)
	for _, c := range []struct {
		input  string
		want   badinput.Outcome
		change func(*eif.BuildOptions)
	}{
		{"zero options", badinput.Plain(), func(o *eif.BuildOptions) { *o = eif.BuildOptions{} }},
		{"a nil kernel", badinput.Plain(), func(o *eif.BuildOptions) { o.Kernel = nil }},
		{"no ramdisk", badinput.Plain(), func(o *eif.BuildOptions) { o.Ramdisks = nil }},
		{"a nil ramdisk", badinput.Plain(), func(o *eif.BuildOptions) { o.Ramdisks = append(o.Ramdisks, nil) }},
		{"100 ramdisks", badinput.Plain(), func(o *eif.BuildOptions) { o.Ramdisks = slices.Repeat(o.Ramdisks, 100) }},
		{"no command line", badinput.Plain(), func(o *eif.BuildOptions) { o.Cmdline = "" }},
		{"a command line over 64 KiB", badinput.Plain(), func(o *eif.BuildOptions) { o.Cmdline = strings.Repeat("x", 64<<10+1) }},
		{"a command line with a NUL", badinput.Plain(), func(o *eif.BuildOptions) { o.Cmdline = "quiet\x00" + badinput.Canary }},
		{"an unknown architecture, with a newline", badinput.Plain(), func(o *eif.BuildOptions) { o.Arch = "riscv\n" }},
		{"metadata that is no JSON", badinput.Plain(), func(o *eif.BuildOptions) { o.Metadata = json.RawMessage(badinput.Canary) }},
		{"metadata over 1 MiB", badinput.Plain(), func(o *eif.BuildOptions) { o.Metadata = json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`) }},
		{"a zero Signer", badinput.Plain(), func(o *eif.BuildOptions) { o.Signer = &eif.Signer{} }},
		{"a Signer without a certificate", badinput.Plain(), func(o *eif.BuildOptions) { o.Signer = &eif.Signer{Key: key} }},
		{"a kernel of 2^50 bytes", badinput.Plain(), func(o *eif.BuildOptions) { o.Kernel = badSeeker{size: 1 << 50} }},
		{"a ramdisk shorter than it says", badinput.Plain(), func(o *eif.BuildOptions) { o.Ramdisks[0] = badSeeker{Reader: strings.NewReader(""), size: 5} }},
		{"a kernel that cannot be measured", own, func(o *eif.BuildOptions) { o.Kernel = badSeeker{err: errOwn} }},
		{"a kernel that cannot be read", own, func(o *eif.BuildOptions) { o.Kernel = badSeeker{Reader: iotest.ErrReader(errOwn), size: 5} }},
	} {
		cases = append(cases, badinput.Case{Func: "Build", Input: c.input, Want: c.want, Call: build(c.change)})
	}
	return cases
}
