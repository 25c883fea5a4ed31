package gguf_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"testing"
	"testing/fstest"
	"time"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// The shape of bloom-560m. Its folder has no prefix in front of names, no
// lm_head, f16 weights, and 200 more rows in the embedding than tokens.
const largeHeads = 16

var (
	largeHidden = int64(1024)
	largeVocab  = 250880
	largeTokens = 250680
)

// Under the race detector everything takes many times as long, and here is
// only one goroutine for it to watch.
func init() {
	if raceDetector {
		largeHidden, largeVocab, largeTokens = 32, 2508, 2308
	}
}

// generated is a file that is computed where it is read: a header, then f16
// weights that depend on their place.
type generated struct {
	header []byte
	size   int64
}

func generatedWeight(i int64) uint16 {
	x := uint32(i) * 2654435761
	return uint16(x>>16)&0x9fff | 0x2000 // between 2^-7 and 2, of either sign
}

func (g *generated) ReadAt(p []byte, off int64) (int, error) {
	if off >= g.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), g.size-off)]
	n := 0
	if off < int64(len(g.header)) {
		n = copy(p, g.header[off:])
	}
	i := (off + int64(n) - int64(len(g.header))) / 2
	for b := p[n:]; len(b) >= 2; b, i = b[2:], i+1 {
		binary.LittleEndian.PutUint16(b, generatedWeight(i))
	}
	return len(p), nil
}

// generatedFile is an open one.
type generatedFile struct {
	*generated
	fs.FileInfo
}

func (f generatedFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f generatedFile) Read([]byte) (int, error)   { return 0, fs.ErrInvalid }
func (f generatedFile) Close() error               { return nil }
func (f generatedFile) Size() int64                { return f.size }
func (f generatedFile) Mode() fs.FileMode          { return 0o444 }

// largeFolder has small files in memory, and weights that nothing holds.
type largeFolder struct {
	fstest.MapFS
	weights map[string]*generated
}

func (l *largeFolder) Open(name string) (fs.File, error) {
	if g, ok := l.weights[name]; ok {
		return generatedFile{generated: g}, nil
	}
	return l.MapFS.Open(name)
}

// newLargeFolder makes a folder in two shards. at gives for each tensor the
// number of its first weight in its shard.
func newLargeFolder(layers int) (folder *largeFolder, at map[string]int64) {
	h := largeHidden
	type tensor struct {
		name  string
		shape []int64
	}
	var all []tensor
	pair := func(name string, out int64, in ...int64) {
		all = append(all, tensor{name + ".bias", []int64{out}}, tensor{name + ".weight", append([]int64{out}, in...)})
	}
	all = append(all, tensor{"word_embeddings.weight", []int64{int64(largeVocab), h}})
	pair("word_embeddings_layernorm", h)
	for i := range layers {
		b := fmt.Sprintf("h.%d.", i)
		pair(b+"input_layernorm", h)
		pair(b+"self_attention.query_key_value", 3*h, h)
		pair(b+"self_attention.dense", h, h)
		pair(b+"post_attention_layernorm", h)
		pair(b+"mlp.dense_h_to_4h", 4*h, h)
		pair(b+"mlp.dense_4h_to_h", h, 4*h)
	}
	pair("ln_f", h)

	folder = &largeFolder{fstest.MapFS{}, map[string]*generated{}}
	at = map[string]int64{}
	index := map[string]string{}
	for i, part := range [][]tensor{all[:3], all[3:]} {
		file := fmt.Sprintf("model-%05d-of-00002.safetensors", i+1)
		header := map[string]any{}
		next := int64(0)
		for _, t := range part {
			n := int64(2)
			for _, d := range t.shape {
				n *= d
			}
			header[t.name] = map[string]any{"dtype": "F16", "shape": t.shape, "data_offsets": []int64{next, next + n}}
			at[t.name], index[t.name] = next/2, file
			next += n
		}
		text, _ := json.Marshal(header)
		g := &generated{header: append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)}
		g.size = int64(len(g.header)) + next
		folder.weights[file] = g
	}
	text, _ := json.Marshal(map[string]any{"weight_map": index})
	folder.MapFS["model.safetensors.index.json"] = file(text)
	folder.MapFS["config.json"] = file(fmt.Appendf(nil, `{"architectures":["BloomForCausalLM"],"model_type":"bloom","n_embed":%d,"n_inner":null,"n_layer":%d,
		"num_attention_heads":%d,"seq_length":2048,"vocab_size":%d,"layer_norm_epsilon":1e-05,"bos_token_id":1,"eos_token_id":2,"pad_token_id":3,"unk_token_id":0,
		"attention_softmax_in_fp32":true,"pretraining_tp":1,"use_cache":true}`, largeHidden, layers, largeHeads, largeVocab))
	folder.MapFS["tokenizer.json"] = file(largeTokenizer())
	folder.MapFS["tokenizer_config.json"] = file([]byte(`{"unk_token":"<unk>","eos_token":"</s>","bos_token":"<s>","pad_token":"<pad>","tokenizer_class":"BloomTokenizerFast"}`))
	return folder, at
}

// largeTokenizer has as many tokens and merges as BLOOM's: words of digits,
// each of which is one shorter and a digit.
func largeTokenizer() []byte {
	vocab := map[string]int{"<unk>": 0, "<s>": 1, "</s>": 2, "<pad>": 3}
	var merges []string
	for i := 0; len(vocab) < largeTokens; i++ {
		word := strconv.Itoa(i)
		vocab[word] = len(vocab)
		if len(word) > 1 {
			merges = append(merges, word[:len(word)-1]+" "+word[len(word)-1:])
		}
	}
	var t map[string]any
	if err := json.Unmarshal([]byte(tinyTokenizer), &t); err != nil {
		panic(err)
	}
	t["model"] = map[string]any{"type": "BPE", "vocab": vocab, "merges": merges}
	var added []any
	for _, name := range []string{"<unk>", "<s>", "</s>", "<pad>"} {
		added = append(added, map[string]any{"id": vocab[name], "content": name, "special": true})
	}
	t["added_tokens"] = added
	data, _ := json.Marshal(t)
	return data
}

// capture keeps the beginning of a file and one tensor of it, and counts and
// hashes the rest.
type capture struct {
	head     []byte // the first write, which is all before the tensors
	at, size int64  // of the tensor
	tensor   []byte
	n        int64
	hash     interface {
		io.Writer
		Sum([]byte) []byte
	}
}

func (c *capture) Write(p []byte) (int, error) {
	if c.n == 0 {
		c.head = bytes.Clone(p)
	}
	if from, to := max(c.at, c.n), min(c.at+c.size, c.n+int64(len(p))); from < to {
		c.tensor = append(c.tensor, p[from-c.n:to-c.n]...)
	}
	c.n += int64(len(p))
	return c.hash.Write(p)
}

// TestBloom560m converts a model of that shape, with two layers of 24 unless
// NITROSEAL_BLOOM_LAYERS has another number. It must not take memory for the
// weights, of which the embedding alone has 514 MB.
func TestBloom560m(t *testing.T) {
	layers := 2
	if s := os.Getenv("NITROSEAL_BLOOM_LAYERS"); s != "" {
		var err error
		if layers, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	} else if testing.Short() {
		t.Skip("it converts 280 million weights")
	}
	folder, at := newLargeFolder(layers)
	for _, typ := range []gguf.TensorType{gguf.F16, gguf.Q8_0} {
		t.Run(typ.String(), func(t *testing.T) {
			last := fmt.Sprintf("blk.%d.attn_qkv.weight", layers-1)
			c := &capture{hash: sha256.New()}
			var f *gguf.File
			var before, peak uint64 // bytes of the heap
			var failed error
			start := time.Now()
			err := gguf.Convert(t.Context(), folder, c, gguf.Options{Type: typ, Name: "BLOOM 560M", Progress: func(done, total int64) {
				var m runtime.MemStats
				if f == nil {
					f, failed = gguf.Read(bytes.NewReader(c.head), total)
					if failed != nil {
						return
					}
					qkv, _ := f.Tensor(last)
					c.at, c.size = qkv.Offset, qkv.Size
					c.tensor = make([]byte, 0, qkv.Size)
					runtime.GC()
					runtime.ReadMemStats(&m)
					before = m.HeapAlloc
				}
				runtime.ReadMemStats(&m)
				peak = max(peak, m.HeapAlloc)
			}})
			if err != nil || failed != nil {
				t.Fatal(err, failed)
			}
			t.Logf("%d layers, %d MB written in %v; heap %d MB before the weights, at most %d MB with them; SHA-256 %x",
				layers, c.n>>20, time.Since(start).Round(time.Millisecond), before>>20, peak>>20, c.hash.Sum(nil)[:8])
			if peak > before+16<<20 {
				t.Errorf("the heap grew from %d to %d bytes", before, peak)
			}
			if before > 200<<20 {
				t.Errorf("the vocabulary takes %d bytes", before)
			}
			tokens, _ := f.Metadata.Texts("tokenizer.ggml.tokens")
			merges, _ := f.Metadata.Texts("tokenizer.ggml.merges")
			if len(tokens) != largeVocab || tokens[largeTokens] != fmt.Sprintf("[PAD%d]", largeTokens) || len(merges) < largeTokens-20 {
				t.Errorf("%d tokens, %d merges", len(tokens), len(merges))
			}
			if label, _ := f.Metadata.Text("general.size_label"); layers == 24 && !raceDetector && label != "559M" {
				t.Errorf("size label %s", label)
			}
			if typ == gguf.F16 {
				checkQKV(t, c.tensor, at[fmt.Sprintf("h.%d.self_attention.query_key_value.weight", layers-1)])
			}
		})
	}
}

// checkQKV compares each weight with the one that belongs there.
func checkQKV(t *testing.T, got []byte, first int64) {
	t.Helper()
	each := largeHidden / largeHeads
	if int64(len(got)) != 3*largeHidden*largeHidden*2 {
		t.Fatalf("%d bytes", len(got))
	}
	for row := range 3 * largeHidden {
		role, head, i := row/largeHidden, row%largeHidden/each, row%each
		from := first + ((head*3+role)*each+i)*largeHidden
		for column := range largeHidden {
			if h := binary.LittleEndian.Uint16(got[(row*largeHidden+column)*2:]); h != generatedWeight(from+column) {
				t.Fatalf("row %d, column %d: %#04x", row, column, h)
			}
		}
	}
}
