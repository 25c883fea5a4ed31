package gguf_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

const (
	q8File  = "../../examples/chatbot/model/larkfield-bloom-q8_0.gguf"
	f16File = "../llama/testdata/larkfield-bloom-f16.gguf"
)

// larkfield are the options that the reference files were made with.
func larkfield(t gguf.TensorType) gguf.Options {
	return gguf.Options{
		Type: t, Name: "Larkfield BLOOM demo 3M", License: "apache-2.0", Languages: []string{"en"},
		Description: "Synthetic help-desk demo for the fictional company Larkfield. Not for real advice.",
	}
}

func parse(t testing.TB, data []byte) *gguf.File {
	t.Helper()
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// tensorBytes returns the bytes of one tensor.
func tensorBytes(t testing.TB, f *gguf.File, name string) []byte {
	t.Helper()
	tensor, ok := f.Tensor(name)
	if !ok {
		t.Fatalf("no tensor %s", name)
	}
	data, err := io.ReadAll(f.Data(tensor))
	if err != nil || int64(len(data)) != tensor.Size {
		t.Fatalf("%s: %d bytes of %d, %v", name, len(data), tensor.Size, err)
	}
	return data
}

func convert(t testing.TB, folder fstest.MapFS, opts gguf.Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := gguf.Convert(t.Context(), folder, &out, opts); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// stored is a tensor of a safetensors file.
type stored struct {
	name, dtype string
	shape       []int
	data        []byte
}

// safetensors writes a file in that format.
func safetensors(tensors []stored) []byte {
	var header, data bytes.Buffer
	header.WriteString(`{"__metadata__":{"format":"pt"}`)
	for _, s := range tensors {
		shape, _ := json.Marshal(s.shape)
		fmt.Fprintf(&header, `,%q:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, s.name, s.dtype, shape, data.Len(), data.Len()+len(s.data))
		data.Write(s.data)
	}
	header.WriteString("}")
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, uint64(header.Len())), header.Bytes(), data.Bytes())
}

// larkfieldTensors returns the tensors of the Hugging Face folder that the f16
// file came from. It goes the converter's way backwards, and shares no code
// with it.
func larkfieldTensors(t testing.TB) []stored {
	t.Helper()
	f := parse(t, readFile(t, f16File))
	names := strings.NewReplacer(
		"token_embd_norm", "word_embeddings_layernorm", "token_embd", "word_embeddings", "output_norm", "ln_f",
		"blk.", "h.", "attn_norm", "input_layernorm", "attn_output", "self_attention.dense",
		"attn_qkv", "self_attention.query_key_value", "ffn_norm", "post_attention_layernorm",
		"ffn_up", "mlp.dense_h_to_4h", "ffn_down", "mlp.dense_4h_to_h")
	var all []stored
	for _, tensor := range f.Tensors {
		s := stored{name: "transformer." + names.Replace(tensor.Name), dtype: "F32", data: tensorBytes(t, f, tensor.Name)}
		if tensor.Type == gguf.F16 {
			s.dtype = "F16"
		}
		for _, d := range slices.Backward(tensor.Dims) {
			s.shape = append(s.shape, int(d))
		}
		if strings.Contains(tensor.Name, "qkv") {
			s.data = interleave(s.data, 8)
		}
		all = append(all, s)
	}
	return all
}

// interleave turns all queries, all keys, all values into the order by heads.
func interleave(data []byte, heads int) []byte {
	each := len(data) / (3 * heads)
	var out []byte
	for head := range heads {
		for role := range 3 {
			at := (role*heads + head) * each
			out = append(out, data[at:at+each]...)
		}
	}
	return out
}

// larkfieldFolder is a folder with those tensors and the real JSON files.
func larkfieldFolder(t testing.TB) fstest.MapFS {
	t.Helper()
	folder := fstest.MapFS{"model.safetensors": file(safetensors(larkfieldTensors(t)))}
	for _, name := range []string{"config.json", "generation_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json"} {
		folder[name] = file(readFile(t, "testdata/"+name))
	}
	return folder
}

func file(data []byte) *fstest.MapFile { return &fstest.MapFile{Data: data, Mode: 0o444} }

// tiny returns a folder of a model with one layer, two heads and a hidden size
// of 32, whose weights are small integers.
func tiny() fstest.MapFS {
	return fstest.MapFS{
		"config.json":       file([]byte(tinyConfig)),
		"tokenizer.json":    file([]byte(tinyTokenizer)),
		"model.safetensors": file(safetensors(tinyTensors())),
	}
}

const (
	tinyConfig    = `{"model_type":"bloom","architectures":["BloomModel"],"n_embed":32,"n_layer":1,"num_attention_heads":2,"vocab_size":6,"eos_token_id":1,"n_inner":null}`
	tinyTokenizer = `{"model":{"type":"BPE","vocab":{"a":2,"b":3,"ab":0},"merges":["a b"]},
		"added_tokens":[{"id":1,"content":"</s>","special":true},{"id":4,"content":"word","special":false}],"normalizer":null,
		"pre_tokenizer":{"type":"Sequence","pretokenizers":[
			{"type":"Split","pattern":{"Regex":" ?[^(\\s|[.,!?…。，、।۔،])]+"},"behavior":"Isolated","invert":false},
			{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":false}]}}`
)

func tinyTensors() []stored {
	const hidden, vocab = 32, 6
	var all []stored
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		var data []byte
		for i := range n {
			data = binary.LittleEndian.AppendUint16(data, bfloat(float32(i%251-125)))
		}
		all = append(all, stored{name, "BF16", shape, data})
	}
	for _, p := range []struct {
		name  string
		shape []int
	}{
		{"h.0.input_layernorm", []int{hidden}}, {"h.0.post_attention_layernorm", []int{hidden}},
		{"h.0.self_attention.query_key_value", []int{3 * hidden, hidden}}, {"h.0.self_attention.dense", []int{hidden, hidden}},
		{"h.0.mlp.dense_h_to_4h", []int{4 * hidden, hidden}}, {"h.0.mlp.dense_4h_to_h", []int{hidden, 4 * hidden}},
		{"ln_f", []int{hidden}}, {"word_embeddings_layernorm", []int{hidden}},
	} {
		add(p.name+".bias", p.shape[0])
		add(p.name+".weight", p.shape...)
	}
	add("word_embeddings.weight", vocab, hidden)
	return all
}

// bfloat cuts a number that bfloat16 can hold.
func bfloat(f float32) uint16 { return uint16(math.Float32bits(f) >> 16) }
