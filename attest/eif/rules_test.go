package eif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// assemble writes an image of any sections, with right tables and checksum.
func assemble(sections ...any) []byte {
	h := &header{version: version}
	var data []byte
	for i := 0; i < len(sections); i += 2 {
		content := sections[i+1].(string)
		h.offsets[i/2], h.sizes[i/2] = uint64(headerSize+len(data)), uint64(len(content))
		h.count++
		data = append(data, Section{sections[i].(SectionType), int64(len(content))}.encode()...)
		data = append(data, content...)
	}
	b := append(h.encode(), data...)
	sum := crc32.NewIEEE()
	sum.Write(b[:crcOffset])
	sum.Write(b[headerSize:])
	binary.BigEndian.PutUint32(b[crcOffset:], sum.Sum32())
	return b
}

// Sections in each wrong arrangement, where nothing else is wrong.
func TestArrangements(t *testing.T) {
	for _, tt := range []struct {
		name     string
		sections []any
		ok       bool
	}{
		{"least", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r"}, true},
		{"usual", []any{Kernel, "k", Cmdline, "c", Metadata, "{}", Ramdisk, "r", Ramdisk, "s"}, true},
		{"metadata last", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", Metadata, "{}"}, true},
		{"two kernels", []any{Kernel, "k", Cmdline, "c", Kernel, "k", Ramdisk, "r"}, false},
		{"two command lines", []any{Kernel, "k", Cmdline, "c", Cmdline, "c", Ramdisk, "r"}, false},
		{"two metadata", []any{Kernel, "k", Cmdline, "c", Metadata, "{}", Ramdisk, "r", Metadata, "{}"}, false},
		{"no kernel", []any{Cmdline, "c", Ramdisk, "r"}, false},
		{"no command line", []any{Kernel, "k", Ramdisk, "r"}, false},
		{"no ramdisk", []any{Kernel, "k", Cmdline, "c"}, false},
		{"command line first", []any{Cmdline, "c", Kernel, "k", Ramdisk, "r"}, false},
		{"ramdisk before command line", []any{Kernel, "k", Ramdisk, "r", Cmdline, "c"}, false},
		{"type 0", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", SectionType(0), "x"}, false},
		{"type 6", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", SectionType(6), "x"}, false},
		{"metadata no JSON", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", Metadata, "{"}, false},
		{"large metadata", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", Metadata, `"` + strings.Repeat("x", maxMetadata) + `"`}, false},
		{"large command line", []any{Kernel, "k", Cmdline, strings.Repeat("x", maxCmdline+1), Ramdisk, "r"}, false},
		{"empty signature", []any{Kernel, "k", Cmdline, "c", Ramdisk, "r", Signature, ""}, false},
		{"nothing", nil, false},
	} {
		image, err := Read(bytes.NewReader(assemble(tt.sections...)))
		if (err == nil) != tt.ok || (image == nil) != (err != nil) || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestNames(t *testing.T) {
	if Kernel.String() != "kernel" || Metadata.String() != "metadata" || SectionType(9).String() != "type 9" || SectionType(0).String() != "type 0" {
		t.Error("names of section types")
	}
}

var errBroken = errors.New("broken")

// brokenReader fails after a number of bytes.
type brokenReader struct{ r io.Reader }

func (b brokenReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF {
		err = errBroken
	}
	return n, err
}

// Errors of the source are told as they are, not as a bad image.
func TestReadErrors(t *testing.T) {
	b := assemble(Kernel, "kernel", Cmdline, "c", Ramdisk, "ramdisk")
	for n := range len(b) + 1 {
		if _, err := Read(brokenReader{bytes.NewReader(b[:n])}); !errors.Is(err, errBroken) {
			t.Fatalf("broken after %d bytes: %v", n, err)
		}
	}
}

// brokenWriter fails at its n-th operation.
type brokenWriter struct {
	f    *os.File
	left int
}

func (b *brokenWriter) ok() error {
	if b.left--; b.left < 0 {
		return errBroken
	}
	return nil
}

func (b *brokenWriter) Write(p []byte) (int, error) {
	if err := b.ok(); err != nil {
		return 0, err
	}
	return b.f.Write(p)
}

func (b *brokenWriter) Seek(offset int64, whence int) (int64, error) {
	if err := b.ok(); err != nil {
		return 0, err
	}
	return b.f.Seek(offset, whence)
}

func TestBuildErrors(t *testing.T) {
	options := func() BuildOptions {
		return BuildOptions{Arch: "arm64", Kernel: strings.NewReader("k"), Cmdline: "c", Ramdisks: []io.ReadSeeker{strings.NewReader("r")}}
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "image"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image, err := Build(f, options())
	if err != nil || image.Arch != "arm64" || string(image.Metadata) != "{}" {
		t.Fatalf("%+v, %v", image, err)
	}
	for n := 0; ; n++ {
		w := &brokenWriter{f, n}
		image, err := Build(w, options())
		if w.left >= 0 {
			if err != nil {
				t.Fatal(err)
			}
			if n < 10 {
				t.Errorf("only %d operations", n)
			}
			break
		}
		if image != nil || !errors.Is(err, errBroken) {
			t.Fatalf("broken at operation %d: %v", n, err)
		}
	}
	for pass := range 4 {
		opts := options()
		opts.Ramdisks[0] = &changing{content: "ramdisk", passes: pass}
		if image, err := Build(f, opts); (err == nil) != (pass == 3) || (image == nil) == (err == nil) {
			t.Errorf("a ramdisk that changes in pass %d: %v", pass, err)
		}
	}
}

// changing is a file that loses its last byte after some seeks.
type changing struct {
	content string
	passes  int
	at      int64
}

func (c *changing) Read(p []byte) (int, error) {
	if c.at >= int64(len(c.content)) {
		return 0, io.EOF
	}
	n := copy(p, c.content[c.at:])
	c.at += int64(n)
	return n, nil
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		c.at = int64(len(c.content))
	} else {
		c.at = offset
	}
	if c.passes--; c.passes == -1 {
		c.content = c.content[:len(c.content)-1]
		if whence == io.SeekEnd {
			return c.at, nil // the size of before
		}
	}
	return c.at, nil
}
