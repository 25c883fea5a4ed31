package gguf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// TestConvertReference converts the model that the f16 file was made of. The
// result is that file.
func TestConvertReference(t *testing.T) {
	folder := larkfieldFolder(t)
	if got := convert(t, folder, larkfield(gguf.F16)); !bytes.Equal(got, readFile(t, f16File)) {
		t.Error("not the bytes of the reference")
	}
	f := parse(t, convert(t, folder, larkfield(gguf.F32)))
	ref := parse(t, readFile(t, f16File))
	for i, want := range ref.Tensors {
		got := f.Tensors[i]
		if got.Name != want.Name || got.Type != gguf.F32 || !slices.Equal(got.Dims, want.Dims) {
			t.Errorf("%s: %+v", want.Name, got)
		}
	}
	kind, _ := f.Metadata.Uint("general.file_type")
	if kind != 0 {
		t.Errorf("file type %d", kind)
	}
}

// TestConvertReferenceQ8 quantizes float32 weights that the reference q8_0
// file was made of, and vectors of the f16 file, which are the same in both.
func TestConvertReferenceQ8(t *testing.T) {
	cut := readFile(t, "testdata/qkv-f32.safetensors")
	n := binary.LittleEndian.Uint64(cut)
	var header map[string]struct {
		Range [2]int `json:"data_offsets"`
	}
	if err := json.Unmarshal(cut[8:8+n], &header); err != nil {
		t.Fatal(err)
	}
	tensors := larkfieldTensors(t)
	replaced := 0
	for i, s := range tensors {
		if r, ok := header[s.name]; ok {
			tensors[i].dtype, tensors[i].data = "F32", cut[8+n:][r.Range[0]:r.Range[1]]
			replaced++
		}
	}
	if replaced != 2 {
		t.Fatalf("%d tensors", replaced)
	}
	folder := larkfieldFolder(t)
	folder["model.safetensors"] = file(safetensors(tensors))
	got := parse(t, convert(t, folder, larkfield(gguf.Q8_0)))
	want := parse(t, readFile(t, q8File))
	if !reflect.DeepEqual(got.Metadata, want.Metadata) || !reflect.DeepEqual(got.Tensors, want.Tensors) {
		t.Error("metadata or descriptions of tensors differ")
	}
	same := 0
	for _, tensor := range want.Tensors {
		equal := bytes.Equal(tensorBytes(t, got, tensor.Name), tensorBytes(t, want, tensor.Name))
		if equal {
			same++
		} else if len(tensor.Dims) == 1 || strings.HasPrefix(tensor.Name, "blk.0.attn_qkv") {
			t.Errorf("%s differs", tensor.Name)
		}
	}
	if same < 53 { // the vectors and one matrix
		t.Errorf("%d tensors are equal", same)
	}
}

// TestRealFolder converts the whole folder, for those who have it.
func TestRealFolder(t *testing.T) {
	dir := os.Getenv("NITROSEAL_BLOOM_FOLDER")
	if dir == "" {
		t.Skip("NITROSEAL_BLOOM_FOLDER names no folder; testdata/README.md says what this compares")
	}
	for typ, want := range map[gguf.TensorType]string{
		gguf.F32:  "4c6f469ecd315c5b98c9756f7454d5b9984d07cb69e7eae86b77e21e2f14bae8",
		gguf.F16:  "25af3cb815469fa630debd78edf06eeeb4d826a6be3e7687fb8857b56ba31f67",
		gguf.Q8_0: "631718b88011ec9723b7665482a3c9ac6a9f5830a5f4791e047376b9380319ef",
	} {
		h := sha256.New()
		if err := gguf.Convert(t.Context(), os.DirFS(dir), h, larkfield(typ)); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(h.Sum(nil)); got != want {
			t.Errorf("%v: SHA-256 %s", typ, got)
		}
	}
}

// TestConvertTiny checks a model with other names, types and files.
func TestConvertTiny(t *testing.T) {
	want := convert(t, tiny(), gguf.Options{})
	f := parse(t, want)
	for key, want := range map[string]any{
		"general.architecture": "bloom", "general.size_label": "13K", "bloom.context_length": uint32(32), "bloom.block_count": uint32(1),
		"tokenizer.ggml.tokens":     []string{"ab", "</s>", "a", "b", "word", "[PAD5]"},
		"tokenizer.ggml.token_type": []int32{1, 3, 1, 1, 4, 5},
		"tokenizer.ggml.merges":     []string{"a b"}, "tokenizer.ggml.eos_token_id": uint32(1),
		"tokenizer.ggml.bos_token_id": nil, "general.name": nil, "general.languages": nil,
	} {
		if got, _ := f.Metadata.Get(key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, not %v", key, got, want)
		}
	}
	// Row r of the fused matrix holds (32r + i) mod 251 - 125. Head 1's values
	// are rows 80 to 95 in the folder, and stay the last; its queries are
	// rows 48 to 63 and become 16 to 31.
	qkv := tensorBytes(t, f, "blk.0.attn_qkv.weight")
	for row, from := range map[int]int{0: 0, 16: 48, 31: 63, 32: 16, 48: 64, 64: 32, 80: 80, 95: 95} {
		for i := range 32 {
			got := math.Float32frombits(binary.LittleEndian.Uint32(qkv[(row*32+i)*4:]))
			if want := float32((from*32+i)%251 - 125); got != want {
				t.Fatalf("row %d, weight %d: %g, not %g", row, i, got, want)
			}
		}
	}

	same := map[string]fstest.MapFS{"prefix": tiny(), "F32": tiny(), "F16": tiny(), "head": tiny(), "reversed": tiny(), "merges as pairs": tiny()}
	edit := func(name string, change func(*stored)) {
		tensors := tinyTensors()
		for i := range tensors {
			change(&tensors[i])
		}
		same[name]["model.safetensors"] = file(safetensors(tensors))
	}
	edit("prefix", func(s *stored) { s.name = "transformer." + s.name })
	edit("F32", func(s *stored) {
		var data []byte
		for i := 0; i < len(s.data); i += 2 {
			data = append(data, 0, 0, s.data[i], s.data[i+1])
		}
		s.dtype, s.data = "F32", data
	})
	edit("F16", func(s *stored) {
		var data []byte
		for i := 0; i < len(s.data); i += 2 {
			f := math.Float32frombits(uint32(s.data[i+1])<<24 | uint32(s.data[i])<<16)
			data = binary.LittleEndian.AppendUint16(data, integerHalf(f))
		}
		s.dtype, s.data = "F16", data
	})
	head := stored{"lm_head.weight", "BF16", []int{6, 32}, make([]byte, 6*32*2)}
	same["head"]["model.safetensors"] = file(safetensors(append(tinyTensors(), head)))
	reversed := tinyTensors()
	slices.Reverse(reversed)
	same["reversed"]["model.safetensors"] = file(safetensors(reversed))
	same["merges as pairs"]["tokenizer.json"] = file([]byte(strings.Replace(tinyTokenizer, `"a b"`, `["a","b"]`, 1)))
	same["shards"] = sharded(tinyTensors(), 5)
	for name, folder := range same {
		if got := convert(t, folder, gguf.Options{}); !bytes.Equal(got, want) {
			t.Errorf("%s: another file", name)
		}
	}

	untied := tiny()
	untied["config.json"] = file([]byte(strings.Replace(tinyConfig, "{", `{"tie_word_embeddings":false,`, 1)))
	untied["model.safetensors"] = file(safetensors(append(tinyTensors(), head)))
	f = parse(t, convert(t, untied, gguf.Options{Type: gguf.Q8_0}))
	if o, ok := f.Tensor("output.weight"); !ok || o.Type != gguf.Q8_0 || bytes.Trim(tensorBytes(t, f, o.Name), "\x00") != nil && len(bytes.Trim(tensorBytes(t, f, o.Name), "\x00")) > 0 {
		t.Errorf("untied: %+v %v", o, ok)
	}
}

// integerHalf converts an integer of at most 11 bits.
func integerHalf(f float32) uint16 {
	b := math.Float32bits(f)
	if f == 0 {
		return 0
	}
	return uint16(b>>16&0x8000) | uint16((b>>23&0xff)-112)<<10 | uint16(b>>13&0x3ff)
}

// sharded spreads tensors over files, with an index.
func sharded(tensors []stored, shards int) fstest.MapFS {
	folder := tiny()
	delete(folder, "model.safetensors")
	index := map[string]string{}
	for i := range shards {
		var part []stored
		name := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, shards)
		for j, s := range tensors {
			if j%shards == i {
				part = append(part, s)
				index[s.name] = name
			}
		}
		folder[name] = file(safetensors(part))
	}
	data, _ := json.Marshal(map[string]any{"metadata": map[string]int{"total_size": 1}, "weight_map": index})
	folder["model.safetensors.index.json"] = file(data)
	return folder
}

// TestSpecialTokens checks where the special tokens come from.
func TestSpecialTokens(t *testing.T) {
	for name, tt := range map[string]struct {
		files map[string]string
		eos   uint64
		bos   any
	}{
		"config.json":            {nil, 1, nil},
		"generation_config.json": {map[string]string{"generation_config.json": `{"bos_token_id":4,"eos_token_id":[2,3]}`}, 1, uint32(4)},
		"several to end with": {map[string]string{"config.json": strings.Replace(tinyConfig, `"eos_token_id":1,`, "", 1),
			"generation_config.json": `{"eos_token_id":[2,3]}`}, 2, nil},
		"tokenizer_config.json": {map[string]string{"tokenizer_config.json": `{"eos_token":"b","bos_token":{"content":"a"},"pad_token":null}`}, 3, uint32(2)},
		"special_tokens_map.json": {map[string]string{"special_tokens_map.json": `{"eos_token":"b","bos_token":{"content":"ab"}}`,
			"tokenizer_config.json": `{"eos_token":"word"}`}, 4, uint32(0)},
	} {
		folder := tiny()
		for file, content := range tt.files {
			folder[file] = &fstest.MapFile{Data: []byte(content)}
		}
		m := parse(t, convert(t, folder, gguf.Options{})).Metadata
		eos, _ := m.Uint("tokenizer.ggml.eos_token_id")
		if bos, _ := m.Get("tokenizer.ggml.bos_token_id"); eos != tt.eos || bos != tt.bos {
			t.Errorf("%s: eos %d, bos %v", name, eos, bos)
		}
	}
}

// TestOddRows checks that rows of no whole blocks are not quantized.
func TestOddRows(t *testing.T) {
	folder := tiny()
	var tensors []stored
	for _, s := range tinyTensors() {
		n := 1
		for i, d := range s.shape {
			if d%32 == 0 {
				s.shape[i] = d / 2 // a hidden size of 16
			}
			n *= s.shape[i]
		}
		s.data = s.data[:2*n]
		tensors = append(tensors, s)
	}
	folder["model.safetensors"] = file(safetensors(tensors))
	folder["config.json"] = file([]byte(strings.Replace(tinyConfig, "32", "16", 1)))
	f := parse(t, convert(t, folder, gguf.Options{Type: gguf.Q8_0}))
	for name, want := range map[string]gguf.TensorType{"token_embd.weight": gguf.F16, "blk.0.ffn_down.weight": gguf.Q8_0, "blk.0.ffn_up.weight": gguf.F16, "blk.0.ffn_up.bias": gguf.F32} {
		if got, _ := f.Tensor(name); got.Type != want {
			t.Errorf("%s is %v", name, got.Type)
		}
	}
}

func TestProgress(t *testing.T) {
	var done, total int64
	calls := 0
	opts := gguf.Options{Progress: func(d, of int64) {
		if d <= done || total != 0 && of != total {
			t.Errorf("%d of %d after %d of %d", d, of, done, total)
		}
		done, total, calls = d, of, calls+1
	}}
	if data := convert(t, tiny(), opts); done != total || total != int64(len(data)) || calls < 18 {
		t.Errorf("%d of %d for %d bytes, %d calls", done, total, len(data), calls)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	err := gguf.Convert(ctx, tiny(), io.Discard, gguf.Options{Progress: func(int64, int64) {
		if calls++; calls == 5 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || calls != 5 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

// TestWriterFails fails at each of the writes.
func TestWriterFails(t *testing.T) {
	for n := 0; ; n++ {
		w := &limited{n: n}
		err := gguf.Convert(t.Context(), tiny(), w, gguf.Options{})
		if err == nil {
			if n < 18 {
				t.Errorf("only %d writes", n)
			}
			return
		}
		if !errors.Is(err, fs.ErrPermission) {
			t.Fatal(err)
		}
	}
}

type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if l.n--; l.n < 0 {
		return 0, fs.ErrPermission
	}
	return len(p), nil
}

// TestShrinkingFolder has files that become shorter after their size is known.
func TestShrinkingFolder(t *testing.T) {
	folder := tiny()
	err := gguf.Convert(t.Context(), folder, io.Discard, gguf.Options{Progress: func(done, _ int64) {
		m := folder["model.safetensors"]
		clear(m.Data[len(m.Data)/2:])
	}})
	if err != nil {
		t.Error(err) // zeros are weights too
	}
	short := shrinking{tiny()}
	if err := gguf.Convert(t.Context(), short, io.Discard, gguf.Options{}); !errors.Is(err, gguf.ErrFormat) || !strings.Contains(err.Error(), "shorter") {
		t.Error(err)
	}
}

type shrinking struct{ fstest.MapFS }

func (s shrinking) Open(name string) (fs.File, error) {
	f, err := s.MapFS.Open(name)
	if name != "model.safetensors" || err != nil {
		return f, err
	}
	return shortFile{f, f.(io.ReaderAt)}, nil
}

type shortFile struct {
	fs.File
	r io.ReaderAt
}

func (f shortFile) ReadAt(p []byte, off int64) (int, error) {
	if off > 4000 {
		return 0, io.EOF
	}
	return f.r.ReadAt(p, off)
}
