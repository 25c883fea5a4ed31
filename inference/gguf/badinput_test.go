package gguf_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nitroseal/nitroseal/inference/gguf"
	"github.com/nitroseal/nitroseal/internal/badinput"
)

// brokenAt is a file that fails from some place on.
type brokenAt struct {
	io.ReaderAt
	at  int64
	err error
}

func (b brokenAt) ReadAt(p []byte, off int64) (int, error) {
	if off+int64(len(p)) > b.at {
		return 0, b.err
	}
	return b.ReaderAt.ReadAt(p, off)
}

// fullDisk fails at once.
type fullDisk struct{ err error }

func (f fullDisk) Write([]byte) (int, error) { return 0, f.err }

// TestBadInput holds what the package says to bad input to
// docs/bad-input/functions/inference-gguf.md.
func TestBadInput(t *testing.T) {
	errOwn := errors.New("own")
	typed := func(name string, err error) badinput.Outcome {
		return badinput.Both(badinput.As[*gguf.Error](), badinput.Is(name, err))
	}
	format, limit, unsupported := typed("gguf.ErrFormat", gguf.ErrFormat), typed("gguf.ErrLimit", gguf.ErrLimit), typed("gguf.ErrUnsupported", gguf.ErrUnsupported)
	gone, cancel := context.WithCancel(t.Context())
	cancel()

	tensor := func(change func(*gguf.Source)) []gguf.Source {
		s := gguf.Source{Tensor: gguf.Tensor{Name: "w", Dims: []uint64{2}}, Data: bytes.NewReader(make([]byte, 8))}
		change(&s)
		return []gguf.Source{s}
	}
	same := func(*gguf.Source) {}
	write := func(input string, want badinput.Outcome, m gguf.Metadata, s []gguf.Source) badinput.Case {
		return badinput.On("Write", input, want, func(context.Context) error { return gguf.Write(io.Discard, m, s) })
	}
	var file bytes.Buffer
	if err := gguf.Write(&file, gguf.Metadata{{Key: "general.name", Value: "x"}}, tensor(same)); err != nil {
		t.Fatal(err)
	}
	good := file.Bytes()
	read := func(input string, want badinput.Outcome, b []byte) badinput.Case {
		return badinput.On("Read", input, want, func(context.Context) error {
			_, err := gguf.Read(bytes.NewReader(b), int64(len(b)))
			return err
		})
	}
	readFrom := func(input string, want badinput.Outcome, r io.ReaderAt, size int64) badinput.Case {
		return badinput.On("Read", input, want, func(context.Context) error {
			_, err := gguf.Read(r, size)
			return err
		})
	}
	version, huge := bytes.Clone(good), bytes.Clone(good)
	version[4] = 99
	copy(huge[8:], "\xff\xff\xff\xff\xff\xff\xff\x7f")
	parsed, err := gguf.Read(bytes.NewReader(good), int64(len(good)))
	if err != nil {
		t.Fatal(err)
	}
	convert := func(input string, want badinput.Outcome, folder fs.FS, opts gguf.Options) badinput.Case {
		return badinput.On("Convert", input, want, func(ctx context.Context) error { return gguf.Convert(ctx, folder, io.Discard, opts) })
	}
	config := func(text string) fs.FS { return fstest.MapFS{"config.json": {Data: []byte(text)}} }
	badinput.Table{
		Package: "inference/gguf",
		Cases: []badinput.Case{
			readFrom("a nil reader", format, nil, 100),
			readFrom("a size of -1", format, bytes.NewReader(good), -1),
			readFrom("a size beyond the end", format, bytes.NewReader(good), 1<<40),
			readFrom("a reader that fails half way", badinput.Own("the reader's error", errOwn), brokenAt{bytes.NewReader(good), 10, errOwn}, int64(len(good))),
			read("nothing", format, nil),
			read("text", format, []byte(strings.Repeat(badinput.Canary, 9))),
			read("a file cut short", format, good[:len(good)-25]),
			read("a file with bytes behind it", format, append(bytes.Clone(good), make([]byte, 64)...)),
			read("version 99", unsupported, version),
			read("2^63-1 tensors", limit, huge),
			write("no tensors and no metadata", badinput.Ignored("an empty file"), nil, nil),
			badinput.On("Write", "a nil writer", badinput.Plain(), func(context.Context) error { return gguf.Write(nil, nil, nil) }),
			badinput.On("Write", "a writer that fails", badinput.Own("the writer's error", errOwn), func(context.Context) error {
				return gguf.Write(fullDisk{errOwn}, nil, tensor(same))
			}),
			write("a key twice", format, gguf.Metadata{{Key: "a", Value: true}, {Key: "a", Value: true}}, nil),
			write("a key with a newline", format, gguf.Metadata{{Key: "a\n", Value: true}}, nil),
			write("a nil value", unsupported, gguf.Metadata{{Key: "a"}}, nil),
			write("a value of an unknown type", unsupported, gguf.Metadata{{Key: "a", Value: struct{}{}}}, nil),
			write("an alignment of 3", format, gguf.Metadata{{Key: "general.alignment", Value: uint32(3)}}, nil),
			write("a tensor without data", format, nil, tensor(func(s *gguf.Source) { s.Data = nil })),
			write("a tensor with fewer bytes than it has", format, nil, tensor(func(s *gguf.Source) { s.Data = bytes.NewReader(nil) })),
			write("a tensor with more bytes than it has", format, nil, tensor(func(s *gguf.Source) { s.Data = bytes.NewReader(make([]byte, 9)) })),
			write("a tensor without dimensions", format, nil, tensor(func(s *gguf.Source) { s.Dims = nil })),
			write("a tensor of 2^126 weights", format, nil, tensor(func(s *gguf.Source) { s.Dims = []uint64{1 << 63, 1 << 63} })),
			write("a tensor of an unknown type", unsupported, nil, tensor(func(s *gguf.Source) { s.Type = 9999 })),
			write("a tensor without a name", format, nil, tensor(func(s *gguf.Source) { s.Name = "" })),
			write("a tensor twice", format, nil, append(tensor(same), tensor(same)...)),
			badinput.On("Convert", "a nil folder", badinput.Plain(), func(ctx context.Context) error { return gguf.Convert(ctx, nil, io.Discard, gguf.Options{}) }),
			badinput.On("Convert", "a nil writer", badinput.Plain(), func(ctx context.Context) error {
				return gguf.Convert(ctx, fstest.MapFS{}, nil, gguf.Options{})
			}),
			badinput.On("Convert", "a context that has ended", badinput.Own("context.Canceled", context.Canceled), func(context.Context) error {
				return gguf.Convert(gone, fstest.MapFS{}, io.Discard, gguf.Options{})
			}),
			convert("an empty folder", badinput.Own("fs.ErrNotExist, with the file's name", fs.ErrNotExist), fstest.MapFS{}, gguf.Options{}),
			convert("a config.json that is no JSON", format, config(badinput.Canary), gguf.Options{}),
			convert("another architecture", unsupported, config(`{"model_type": "llama"}`), gguf.Options{}),
			convert("a type that Convert does not write", unsupported, config(`{}`), gguf.Options{Type: 9999}),
			badinput.Value("File.Data", "a Tensor that the file does not have", "what its fields say, read from the file: an error where that is outside", func() bool {
				_, err := io.ReadAll(parsed.Data(gguf.Tensor{Offset: -1, Size: 10}))
				return err != nil
			}),
			badinput.Value("File.Tensor", "a name that is not there", "false", func() bool { _, ok := parsed.Tensor(""); return !ok }),
			badinput.Value("Metadata.Get", "a key that is not there", "false", func() bool { _, ok := parsed.Metadata.Get("\n"); return !ok }),
			badinput.Value("Metadata.Bool", "a key of another type", "false", func() bool { _, ok := parsed.Metadata.Bool("general.name"); return !ok }),
			badinput.Value("Metadata.Float", "a key of another type", "false", func() bool { _, ok := parsed.Metadata.Float("general.name"); return !ok }),
			badinput.Value("Metadata.Text", "a key that is not there", "false", func() bool { _, ok := parsed.Metadata.Text(""); return !ok }),
			badinput.Value("Metadata.Texts", "a key of another type", "false", func() bool { _, ok := parsed.Metadata.Texts("general.name"); return !ok }),
			badinput.Value("Metadata.Uint", "a key whose number is negative", "false", func() bool {
				_, ok := gguf.Metadata{{Key: "n", Value: int8(-1)}}.Uint("n")
				return !ok
			}),
			badinput.Value("Tensor.Elements", "dimensions whose product is over 2^64", "0", func() bool {
				return gguf.Tensor{Dims: []uint64{1 << 63, 4}}.Elements() == 0
			}),
		},
		NoInput: []string{"Error.Error", "Error.Unwrap", "Source.Elements (as Tensor.Elements)", "TensorType.String (any number)"},
	}.Run(t)
}
