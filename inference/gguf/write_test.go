package gguf_test

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

func TestWrite(t *testing.T) {
	data := small(t)
	f := parse(t, data)
	if !reflect.DeepEqual(f.Metadata, everyValue) {
		t.Errorf("metadata %v", f.Metadata)
	}
	for i, want := range everyTensor() {
		got := f.Tensors[i]
		if got.Name != want.Name || got.Type != want.Type || !reflect.DeepEqual(got.Dims, want.Dims) || got.Offset%32 != 0 {
			t.Errorf("tensor %d: %+v", i, got)
		}
		if b := tensorBytes(t, f, want.Name); strings.Trim(string(b), "\x07") != "" {
			t.Errorf("%s: bytes % x", want.Name, b)
		}
	}
	if !bytes.Equal(data, small(t)) {
		t.Error("the same input gave other bytes")
	}
}

func TestWriteAlignment(t *testing.T) {
	var out bytes.Buffer
	if err := gguf.Write(&out, gguf.Metadata{{"general.alignment", uint32(4096)}}, everyTensor()); err != nil {
		t.Fatal(err)
	}
	f := parse(t, out.Bytes())
	for i, tensor := range f.Tensors {
		if tensor.Offset != int64(i+1)*4096 {
			t.Errorf("%s at %d", tensor.Name, tensor.Offset)
		}
	}
}

// TestWriteReference writes the reference files again, byte by byte.
func TestWriteReference(t *testing.T) {
	for _, name := range []string{q8File, f16File} {
		data := readFile(t, name)
		f := parse(t, data)
		var sources []gguf.Source
		for _, tensor := range f.Tensors {
			sources = append(sources, gguf.Source{Tensor: tensor, Data: bytes.NewReader(tensorBytes(t, f, tensor.Name))})
		}
		var out bytes.Buffer
		if err := gguf.Write(&out, f.Metadata, sources); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%s: not the same: %v", name, err)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	vector := func(n int, dims ...uint64) []gguf.Source {
		return []gguf.Source{{Tensor: gguf.Tensor{Name: "a", Dims: dims}, Data: bytes.NewReader(make([]byte, n))}}
	}
	for name, tt := range map[string]struct {
		metadata gguf.Metadata
		tensors  []gguf.Source
		want     error
	}{
		"type of value":    {gguf.Metadata{{"a", 1}}, nil, gguf.ErrUnsupported},
		"array of arrays":  {gguf.Metadata{{"a", [][]string{}}}, nil, gguf.ErrUnsupported},
		"no value":         {gguf.Metadata{{"a", nil}}, nil, gguf.ErrUnsupported},
		"key":              {gguf.Metadata{{"", true}}, nil, gguf.ErrFormat},
		"key twice":        {gguf.Metadata{{"a", true}, {"a", true}}, nil, gguf.ErrFormat},
		"alignment":        {gguf.Metadata{{"general.alignment", uint32(3)}}, nil, gguf.ErrFormat},
		"tensor twice":     {nil, append(vector(4, 1), vector(4, 1)...), gguf.ErrFormat},
		"no dimensions":    {nil, vector(4), gguf.ErrFormat},
		"tensor too large": {nil, vector(4, 1<<60), gguf.ErrLimit},
	} {
		var out bytes.Buffer
		if err := gguf.Write(&out, tt.metadata, tt.tensors); !errors.Is(err, tt.want) || out.Len() > 0 {
			t.Errorf("%s: error %v, want %v; %d bytes", name, err, tt.want, out.Len())
		}
	}
	for _, n := range []int{0, 3, 5} {
		if err := gguf.Write(io.Discard, nil, vector(n, 1)); err == nil || !strings.Contains(err.Error(), "were written, not 4") {
			t.Errorf("%d bytes of 4: %v", n, err)
		}
	}
}
