package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// TestReadReference reads files that other converters have written.
func TestReadReference(t *testing.T) {
	for name, want := range map[string]struct {
		path string
		typ  gguf.TensorType
		kind uint64
	}{"q8_0": {q8File, gguf.Q8_0, 7}, "f16": {f16File, gguf.F16, 1}} {
		t.Run(name, func(t *testing.T) {
			f := parse(t, readFile(t, want.path))
			if f.Version != 3 || f.Alignment != 32 || len(f.Metadata) != 28 || len(f.Tensors) != 77 {
				t.Errorf("version %d, alignment %d, %d pairs, %d tensors", f.Version, f.Alignment, len(f.Metadata), len(f.Tensors))
			}
			m := f.Metadata
			arch, _ := m.Text("general.architecture")
			kind, _ := m.Uint("general.file_type")
			epsilon, _ := m.Float("bloom.attention.layer_norm_epsilon")
			tokens, _ := m.Texts("tokenizer.ggml.tokens")
			if addBos, ok := m.Bool("tokenizer.ggml.add_bos_token"); addBos || !ok {
				t.Errorf("add_bos_token %v %v", addBos, ok)
			}
			if arch != "bloom" || kind != want.kind || epsilon != float64(float32(1e-5)) || len(tokens) != 2560 || tokens[2] != "</s>" {
				t.Errorf("%q %d %g, %d tokens", arch, kind, epsilon, len(tokens))
			}
			if types, _ := m.Get("tokenizer.ggml.token_type"); !reflect.DeepEqual(types.([]int32)[:5], []int32{3, 3, 3, 3, 1}) {
				t.Errorf("types of tokens: %v", types)
			}
			e, ok := f.Tensor("token_embd.weight")
			if !ok || e.Type != want.typ || e.Type.String() != name || !slices.Equal(e.Dims, []uint64{192, 2560}) || e.Elements() != 192*2560 {
				t.Errorf("%+v %v", e, ok)
			}
			if _, ok := f.Tensor("output.weight"); ok {
				t.Error("an output matrix")
			}
		})
	}
}

func TestAccessors(t *testing.T) {
	m := gguf.Metadata{
		{"u8", uint8(8)}, {"u16", uint16(16)}, {"u32", uint32(32)}, {"u64", uint64(math.MaxUint64)},
		{"i8", int8(8)}, {"i16", int16(16)}, {"i32", int32(32)}, {"i64", int64(64)}, {"negative", int32(-1)},
		{"f32", float32(1.5)}, {"f64", 2.5}, {"text", "x"}, {"texts", []string{"x"}}, {"bool", true},
	}
	for key, want := range map[string]uint64{"u8": 8, "u16": 16, "u32": 32, "u64": math.MaxUint64, "i8": 8, "i16": 16, "i32": 32, "i64": 64} {
		if got, ok := m.Uint(key); got != want || !ok {
			t.Errorf("%s: %d %v", key, got, ok)
		}
	}
	for key, want := range map[string]float64{"f32": 1.5, "f64": 2.5} {
		if got, ok := m.Float(key); got != want || !ok {
			t.Errorf("%s: %g %v", key, got, ok)
		}
	}
	for _, key := range []string{"negative", "f32", "text", "bool", "texts", "none"} {
		if v, ok := m.Uint(key); ok {
			t.Errorf("%s is %d", key, v)
		}
	}
	if v, ok := m.Float("u8"); ok {
		t.Errorf("u8 is %g", v)
	}
	if v, ok := m.Text("texts"); ok {
		t.Errorf("texts is %q", v)
	}
	if v, ok := m.Get("none"); ok {
		t.Errorf("none is %v", v)
	}
}

// everyValue has each type of metadata.
var everyValue = gguf.Metadata{
	{"uint8", uint8(1)}, {"int8", int8(-1)}, {"uint16", uint16(2)}, {"int16", int16(-2)}, {"uint32", uint32(3)}, {"int32", int32(-3)},
	{"uint64", uint64(4)}, {"int64", int64(-4)}, {"float32", float32(0.5)}, {"float64", math.Inf(-1)}, {"bool", true}, {"string", "ä\x00\xff"},
	{"uint8s", []uint8{1, 2}}, {"int8s", []int8{-1}}, {"uint16s", []uint16{2}}, {"int16s", []int16{-2}}, {"uint32s", []uint32{3}}, {"int32s", []int32{-3}},
	{"uint64s", []uint64{4}}, {"int64s", []int64{}}, {"float32s", []float32{0.5}}, {"float64s", []float64{2}}, {"bools", []bool{true, false}}, {"strings", []string{"", "a"}},
}

func everyTensor() []gguf.Source {
	data := func(n int) *bytes.Reader { return bytes.NewReader(bytes.Repeat([]byte{7}, n)) }
	return []gguf.Source{
		{Tensor: gguf.Tensor{Name: "a", Type: gguf.F32, Dims: []uint64{3}}, Data: data(12)},
		{Tensor: gguf.Tensor{Name: "b", Type: gguf.Q8_0, Dims: []uint64{32, 3}}, Data: data(102)},
		{Tensor: gguf.Tensor{Name: "c", Type: gguf.F16, Dims: []uint64{1, 2, 3, 4}}, Data: data(48)},
	}
}

func small(t testing.TB) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := gguf.Write(&out, everyValue, everyTensor()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestEveryTruncation reads every beginning of a file. Only the padding of the
// last tensor may be missing.
func TestEveryTruncation(t *testing.T) {
	data := small(t)
	padding := 16
	for n := range data {
		f, err := gguf.Read(bytes.NewReader(data[:n]), int64(n))
		if n >= len(data)-padding {
			if err != nil {
				t.Errorf("%d of %d bytes: %v", n, len(data), err)
			}
		} else if !errors.Is(err, gguf.ErrFormat) || f != nil {
			t.Errorf("%d of %d bytes: %v", n, len(data), err)
		}
		// A file that is shorter than it claims to be.
		if _, err := gguf.Read(bytes.NewReader(data[:n]), int64(len(data))); err != nil && !errors.Is(err, gguf.ErrFormat) {
			t.Errorf("%d of %d bytes: %v", n, len(data), err)
		}
	}
}

// TestEveryByteChanged reads files with one wrong byte.
func TestEveryByteChanged(t *testing.T) {
	data := small(t)
	refused := 0
	for i := range data {
		for _, x := range []byte{1, 0x7f, 0x80, 0xff} {
			bad := slices.Clone(data)
			bad[i] ^= x
			_, err := gguf.Read(bytes.NewReader(bad), int64(len(bad)))
			if e, ok := errors.AsType[*gguf.Error](err); err != nil && (!ok || e.Reason == "") {
				t.Errorf("byte %d: %v", i, err)
			}
			if err != nil {
				refused++
			}
		}
	}
	if refused < len(data) {
		t.Errorf("only %d of %d changes were refused", refused, 4*len(data))
	}
}

// raw builds files that Write would not.
type raw struct{ bytes.Buffer }

func (r *raw) u32(v uint32) *raw { r.Write(binary.LittleEndian.AppendUint32(nil, v)); return r }
func (r *raw) u64(v uint64) *raw { r.Write(binary.LittleEndian.AppendUint64(nil, v)); return r }
func (r *raw) str(s string) *raw { r.u64(uint64(len(s))).WriteString(s); return r }

func begin(tensors, pairs uint64) *raw {
	r := &raw{}
	r.WriteString("GGUF")
	return r.u32(3).u64(tensors).u64(pairs)
}

// tensors adds descriptions of f32 vectors with 8 weights at some offsets, and
// bytes for so many.
func vectors(r *raw, size int, offsets ...uint64) *raw {
	for i, o := range offsets {
		r.str(string(rune('a' + i))).u32(1).u64(8).u32(0).u64(o)
	}
	r.Write(make([]byte, (32-r.Len()%32)%32+size))
	return r
}

func one(name string, typ uint32, dims ...uint64) *raw {
	r := begin(1, 0).str(name).u32(uint32(len(dims)))
	for _, d := range dims {
		r.u64(d)
	}
	r.u32(typ).u64(0)
	r.Write(make([]byte, 4096))
	return r
}

func TestReadRefuses(t *testing.T) {
	header := func(version uint32) *raw { r := &raw{}; r.WriteString("GGUF"); return r.u32(version).u64(0).u64(0) }
	pair := func(key string, typ uint32) *raw { return begin(0, 1).str(key).u32(typ) }
	for name, tt := range map[string]struct {
		file *raw
		want error
	}{
		"version 2":                {header(2), nil},
		"version 3":                {header(3), nil},
		"version 1":                {header(1), gguf.ErrUnsupported},
		"version 4":                {header(4), gguf.ErrUnsupported},
		"big-endian":               {header(3 << 24), gguf.ErrUnsupported},
		"too many tensors":         {begin(1<<16+1, 0), gguf.ErrLimit},
		"too many pairs":           {begin(0, 1<<14+1), gguf.ErrLimit},
		"pairs that are not there": {begin(0, 1<<14), gguf.ErrFormat},
		"bytes at the end":         {vectors(begin(0, 0), 1), gguf.ErrFormat},

		"empty key":            {pair("", 7), gguf.ErrFormat},
		"key with a space":     {pair("a b", 7), gguf.ErrFormat},
		"key not ASCII":        {pair("ä", 7), gguf.ErrFormat},
		"long key":             {pair(strings.Repeat("k", 1<<16), 7), gguf.ErrLimit},
		"key twice":            {begin(0, 2).str("a").u32(4).u32(1).str("a").u32(4).u32(1), gguf.ErrFormat},
		"type that is none":    {pair("a", 13), gguf.ErrFormat},
		"endless string":       {pair("a", 8).u64(math.MaxUint64), gguf.ErrFormat},
		"array of arrays":      {pair("a", 9).u32(9).u64(1).u32(4).u64(0), gguf.ErrUnsupported},
		"array of nothing":     {pair("a", 9).u32(13).u64(0), gguf.ErrFormat},
		"large array":          {pair("a", 9).u32(0).u64(1<<22 + 1), gguf.ErrLimit},
		"array beyond the end": {pair("a", 9).u32(8).u64(1 << 22), gguf.ErrFormat},
		"boolean 2":            {pair("a", 7).u32(2), gguf.ErrFormat},

		"alignment 64":         {begin(0, 1).str("general.alignment").u32(4).u32(64), nil},
		"alignment 0":          {begin(0, 1).str("general.alignment").u32(4).u32(0), gguf.ErrFormat},
		"alignment 24":         {begin(0, 1).str("general.alignment").u32(4).u32(24), gguf.ErrFormat},
		"alignment 4":          {begin(0, 1).str("general.alignment").u32(4).u32(4), gguf.ErrFormat},
		"alignment 2 GiB":      {begin(0, 1).str("general.alignment").u32(4).u32(1 << 31), gguf.ErrLimit},
		"alignment is a text":  {begin(0, 1).str("general.alignment").u32(8).str("32"), gguf.ErrFormat},
		"alignment is uint64":  {begin(0, 1).str("general.alignment").u32(10).u64(32), gguf.ErrFormat},
		"two vectors":          {vectors(begin(2, 0), 64, 0, 32), nil},
		"tensor twice":         {begin(2, 0).str("a").u32(1).u64(8).u32(0).u64(0).str("a").u32(1).u64(8).u32(0).u64(32), gguf.ErrFormat},
		"tensors overlap":      {vectors(begin(2, 0), 64, 0, 0), gguf.ErrFormat},
		"tensors in disorder":  {vectors(begin(2, 0), 64, 32, 0), gguf.ErrFormat},
		"tensors with a gap":   {vectors(begin(2, 0), 96, 0, 64), gguf.ErrFormat},
		"misaligned":           {vectors(begin(2, 0), 64, 0, 33), gguf.ErrFormat},
		"huge offset":          {vectors(begin(2, 0), 64, 0, math.MaxUint64&^31), gguf.ErrFormat},
		"largest offset":       {vectors(begin(1, 0), 64, math.MaxInt64&^31), gguf.ErrFormat},
		"tensor cut off":       {vectors(begin(2, 0), 63, 0, 32), gguf.ErrFormat},
		"bytes after tensors":  {vectors(begin(2, 0), 65, 0, 32), gguf.ErrFormat},
		"no name":              {one("", 0, 1), gguf.ErrFormat},
		"long name":            {one(strings.Repeat("n", 65), 0, 1), gguf.ErrLimit},
		"no dimensions":        {one("a", 0), gguf.ErrFormat},
		"five dimensions":      {one("a", 0, 1, 1, 1, 1, 1), gguf.ErrFormat},
		"endless dimensions":   {begin(1, 0).str("a").u32(math.MaxUint32), gguf.ErrFormat},
		"dimension 0":          {one("a", 0, 4, 0), gguf.ErrFormat},
		"product overflows":    {one("a", 0, 1<<32, 1<<32), gguf.ErrFormat},
		"product overflows to": {one("a", 0, 1<<63, 2, 3), gguf.ErrFormat},
		"size overflows":       {one("a", 0, 1<<62), gguf.ErrFormat},
		"size over the file":   {one("a", 0, 1<<40), gguf.ErrFormat},
		"half a block":         {one("a", 8, 48), gguf.ErrFormat},
		"withdrawn type":       {one("a", 4, 32), gguf.ErrUnsupported},
		"unknown type":         {one("a", 99, 32), gguf.ErrUnsupported},
	} {
		data := tt.file.Bytes()
		f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if !errors.Is(err, tt.want) || (f == nil) != (err != nil) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
		}
	}
	if _, err := gguf.Read(bytes.NewReader(nil), -1); !errors.Is(err, gguf.ErrFormat) {
		t.Errorf("negative size: %v", err)
	}
}

// zeros is a file of some beginning and zeros without end.
type zeros struct{ head []byte }

func (z zeros) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(z.head)) {
		copy(p, z.head[off:])
	}
	return len(p), nil
}

// TestReadLimit has a file of a terabyte whose header does not end.
func TestReadLimit(t *testing.T) {
	for _, r := range []*raw{
		begin(0, 1).str("a").u32(8).u64(1 << 30),               // one string
		begin(0, 1).str("a").u32(8).u64(128<<20 - 24 - 9 - 11), // just over
		begin(0, 1).str("a").u32(9).u32(10).u64(1 << 22).u64(0),
	} {
		// The last one is within the limits, and has a good value.
		_, err := gguf.Read(zeros{r.Bytes()}, 1<<40)
		if within := r.Len() == 24+9+4+4+8+8; within != errors.Is(err, gguf.ErrFormat) || !within && !errors.Is(err, gguf.ErrLimit) {
			t.Error(err)
		}
	}
}

func TestErrorMessage(t *testing.T) {
	for want, r := range map[string]*raw{
		"overlaps":     vectors(begin(2, 0), 32, 0, 0),
		"a gap":        vectors(begin(2, 0), 96, 0, 64),
		"no multiple":  vectors(begin(2, 0), 65, 0, 33),
		"big-endian":   begin(0, 0),
		"whole blocks": one("a", 8, 48),
	} {
		data := r.Bytes()
		if want == "big-endian" {
			data[4], data[7] = 0, 3
		}
		if _, err := gguf.Read(bytes.NewReader(data), int64(len(data))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, without %q", err, want)
		}
	}
	_, err := gguf.Read(bytes.NewReader([]byte("GGUF")), 4)
	if got := err.Error(); got != "gguf: malformed: the file ends too early" {
		t.Error(got)
	}
	long := strings.Repeat("\x1b", 1000)
	data := begin(0, 1).str(long).u32(4).u32(0).Bytes()
	_, err = gguf.Read(bytes.NewReader(data), int64(len(data)))
	if got := err.Error(); len(got) > 500 || strings.Contains(got, "\x1b") {
		t.Error(got)
	}
}

type failing struct{}

func (failing) ReadAt([]byte, int64) (int, error) { return 0, io.ErrClosedPipe }

func TestReadError(t *testing.T) {
	if _, err := gguf.Read(failing{}, 100); !errors.Is(err, io.ErrClosedPipe) || errors.Is(err, gguf.ErrFormat) {
		t.Error(err)
	}
}

// FuzzRead writes what it could read, and reads that again.
func FuzzRead(f *testing.F) {
	seed := small(f)
	f.Add(seed)
	f.Add(seed[:len(seed)-1])
	f.Add(vectors(begin(2, 0), 64, 0, 32).Bytes())
	f.Add(begin(0, 1).str("general.alignment").u32(4).u32(64).Bytes())
	f.Add(begin(0, 1).str("a").u32(9).u32(8).u64(2).str("x").str("").Bytes())
	f.Add(one("a", 8, 64, 2).Bytes()[:200])
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			if _, ok := errors.AsType[*gguf.Error](err); !ok || file != nil {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		var sources []gguf.Source
		for _, tensor := range file.Tensors {
			sources = append(sources, gguf.Source{Tensor: tensor, Data: bytes.NewReader(tensorBytes(t, file, tensor.Name))})
		}
		var first, second bytes.Buffer
		if err := gguf.Write(&first, file.Metadata, sources); err != nil {
			t.Fatal(err)
		}
		again := parse(t, first.Bytes())
		for i, tensor := range again.Tensors {
			sources[i] = gguf.Source{Tensor: tensor, Data: bytes.NewReader(tensorBytes(t, again, tensor.Name))}
		}
		if err := gguf.Write(&second, again.Metadata, sources); err != nil || !bytes.Equal(first.Bytes(), second.Bytes()) {
			t.Errorf("not the same file again: %v", err)
		}
		// Written files are the shortest form but for padding.
		if n := int64(first.Len() - len(data)); n < 0 && -n >= 2*file.Alignment || n >= 2*file.Alignment {
			t.Errorf("%d bytes became %d", len(data), first.Len())
		}
	})
}
