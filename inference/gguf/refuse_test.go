package gguf_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// TestConvertRefuses changes one thing of a good folder at a time.
func TestConvertRefuses(t *testing.T) {
	replace := func(file, content, old, with string) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			if strings.Count(content, old) != 1 {
				t.Errorf("%q is not once in %s", old, file)
			}
			f[file] = &fstest.MapFile{Data: []byte(strings.Replace(content, old, with, 1))}
		}
	}
	config := func(old, with string) func(fstest.MapFS) { return replace("config.json", tinyConfig, old, with) }
	also := func(member string) func(fstest.MapFS) { return config("{", "{"+member+",") }
	tokenizer := func(old, with string) func(fstest.MapFS) {
		return replace("tokenizer.json", tinyTokenizer, old, with)
	}
	set := func(file, content string) func(fstest.MapFS) {
		return func(f fstest.MapFS) { f[file] = &fstest.MapFile{Data: []byte(content)} }
	}
	remove := func(file string) func(fstest.MapFS) { return func(f fstest.MapFS) { delete(f, file) } }
	weights := func(change func([]stored) []stored) func(fstest.MapFS) {
		return func(f fstest.MapFS) { f["model.safetensors"] = file(safetensors(change(tinyTensors()))) }
	}
	weight := func(bits uint16) func(fstest.MapFS) { // the last of the embedding
		return weights(func(s []stored) []stored {
			e := s[len(s)-1].data
			binary.LittleEndian.PutUint16(e[len(e)-2:], bits)
			return s
		})
	}
	shards := func(change func(fstest.MapFS)) func(fstest.MapFS) {
		return func(f fstest.MapFS) {
			clear(f)
			for name, m := range sharded(tinyTensors(), 2) {
				f[name] = m
			}
			change(f)
		}
	}
	const first = "model-00001-of-00002.safetensors"
	index := "model.safetensors.index.json"
	for name, tt := range map[string]struct {
		change func(fstest.MapFS)
		want   error
		says   string
	}{
		"nothing":             {func(fstest.MapFS) {}, nil, ""},
		"no config":           {remove("config.json"), fs.ErrNotExist, "config.json"},
		"no tokenizer":        {remove("tokenizer.json"), fs.ErrNotExist, "tokenizer.json"},
		"no weights":          {remove("model.safetensors"), fs.ErrNotExist, "model.safetensors"},
		"pickled weights":     {func(f fstest.MapFS) { delete(f, "model.safetensors"); f["pytorch_model.bin"] = file(nil) }, gguf.ErrUnsupported, "pickle"},
		"config is no JSON":   {config("}", ""), gguf.ErrFormat, "config.json"},
		"config is an array":  {set("config.json", "[]"), gguf.ErrFormat, "config.json"},
		"config is large":     {set("config.json", strings.Repeat(" ", 1<<20+1)), gguf.ErrLimit, "config.json"},
		"another model":       {config(`"model_type":"bloom"`, `"model_type":"llama"`), gguf.ErrUnsupported, `"llama"`},
		"no model type":       {config(`"model_type":"bloom",`, ``), gguf.ErrUnsupported, "model_type"},
		"another head":        {config("BloomModel", "BloomForTokenClassification"), gguf.ErrUnsupported, "BloomForTokenClassification"},
		"no hidden size":      {config(`"n_embed":32,`, ""), gguf.ErrFormat, "hidden_size"},
		"two hidden sizes":    {also(`"hidden_size":64`), gguf.ErrFormat, "64 and also 32"},
		"negative layers":     {config(`"n_layer":1`, `"n_layer":-1`), gguf.ErrFormat, "n_layer"},
		"many layers":         {config(`"n_layer":1`, `"n_layer":1025`), gguf.ErrLimit, "n_layer"},
		"layers are a text":   {config(`"n_layer":1`, `"n_layer":"1"`), gguf.ErrFormat, "n_layer"},
		"fractional layers":   {config(`"n_layer":1`, `"n_layer":1.5`), gguf.ErrFormat, "n_layer"},
		"three heads":         {config(`heads":2`, `heads":3`), gguf.ErrFormat, "heads"},
		"large vocabulary":    {config(`"vocab_size":6`, `"vocab_size":1048577`), gguf.ErrLimit, "vocab_size"},
		"negative context":    {also(`"seq_length":-1`), gguf.ErrFormat, "seq_length"},
		"large context":       {also(`"seq_length":100000000`), gguf.ErrLimit, "seq_length"},
		"other inner size":    {config(`"n_inner":null`, `"n_inner":64`), gguf.ErrUnsupported, "n_inner"},
		"no epsilon":          {also(`"layer_norm_epsilon":0`), gguf.ErrFormat, "layer_norm_epsilon"},
		"residual after norm": {also(`"apply_residual_connection_post_layernorm":true`), gguf.ErrUnsupported, "residual"},
		"quantized":           {also(`"quantization_config":{"bits":4}`), gguf.ErrUnsupported, "quantized"},
		"untied without head": {also(`"tie_word_embeddings":false`), gguf.ErrFormat, `"lm_head.weight"`},

		"tokenizer is no JSON":  {set("tokenizer.json", "{"), gguf.ErrFormat, "tokenizer.json"},
		"not BPE":               {tokenizer(`"BPE"`, `"Unigram"`), gguf.ErrUnsupported, "Unigram"},
		"byte fallback":         {tokenizer(`"type":"BPE"`, `"type":"BPE","byte_fallback":true`), gguf.ErrUnsupported, "BPE"},
		"normalizer":            {tokenizer(`"normalizer":null`, `"normalizer":{"type":"NFC"}`), gguf.ErrUnsupported, "normalizer"},
		"no pre-tokenizer":      {tokenizer(`"Sequence"`, `"Metaspace"`), gguf.ErrUnsupported, "sequence of two"},
		"other expression":      {tokenizer(`،]`, `]`), gguf.ErrUnsupported, "split"},
		"other split":           {tokenizer(`Isolated`, `Removed`), gguf.ErrUnsupported, "split"},
		"inverted":              {tokenizer(`"invert":false`, `"invert":true`), gguf.ErrUnsupported, "split"},
		"prefix space":          {tokenizer(`"add_prefix_space":false`, `"add_prefix_space":true`), gguf.ErrUnsupported, "byte-level"},
		"own expression":        {tokenizer(`,"use_regex":false`, ``), gguf.ErrUnsupported, "byte-level"},
		"vocabulary is a list":  {tokenizer(`{"a":2,"b":3,"ab":0}`, `["a"]`), gguf.ErrFormat, "tokenizer.json"},
		"id is a text":          {tokenizer(`"a":2`, `"a":"2"`), gguf.ErrFormat, `"a"`},
		"id is large":           {tokenizer(`"a":2`, `"a":1048576`), gguf.ErrLimit, `"a"`},
		"id is negative":        {tokenizer(`"a":2`, `"a":-2`), gguf.ErrLimit, `"a"`},
		"id over vocab_size":    {tokenizer(`"a":2`, `"c":6,"a":2`), gguf.ErrFormat, "vocab_size"},
		"id twice":              {tokenizer(`"a":2`, `"a":2,"c":2`), gguf.ErrFormat, `same id`},
		"token twice":           {tokenizer(`"a":2`, `"a":2,"a":5`), gguf.ErrFormat, `"a"`},
		"added token elsewhere": {tokenizer(`"id":4`, `"id":2`), gguf.ErrFormat, `same id`},
		"empty token":           {tokenizer(`"a":2`, `"a":2,"":5`), gguf.ErrFormat, "empty"},
		"token like padding":    {tokenizer(`"word"`, `"[PAD5]"`), gguf.ErrFormat, "[PAD5]"},
		"merge of one":          {tokenizer(`"a b"`, `"ab"`), gguf.ErrFormat, "pair"},
		"merge of three":        {tokenizer(`"a b"`, `["a","b","a"]`), gguf.ErrFormat, "pair"},
		"merge with a space":    {tokenizer(`"a b"`, `["a ","b"]`), gguf.ErrFormat, "pair"},
		"merge of nothing":      {tokenizer(`"a b"`, `null`), gguf.ErrFormat, "pair"},
		"merge to no token":     {tokenizer(`"a b"`, `"b a"`), gguf.ErrFormat, `"ba"`},
		"no merges":             {tokenizer(`["a b"]`, `[]`), gguf.ErrFormat, "merges"},
		"no end":                {config(`"eos_token_id":1,`, ``), gguf.ErrFormat, "eos_token"},
		"end is no id":          {config(`"eos_token_id":1`, `"eos_token_id":6`), gguf.ErrFormat, "eos_token_id"},
		"end is a fraction":     {config(`"eos_token_id":1`, `"eos_token_id":1.5`), gguf.ErrFormat, "eos_token_id"},
		"end is a text":         {config(`"eos_token_id":1`, `"eos_token_id":"1"`), gguf.ErrFormat, "eos_token_id"},
		"end is no token":       {set("tokenizer_config.json", `{"eos_token":"</t>"}`), gguf.ErrFormat, "eos_token"},
		"begin is no token":     {set("special_tokens_map.json", `{"bos_token":"<t>"}`), gguf.ErrFormat, "bos_token"},
		"special tokens a list": {set("special_tokens_map.json", `[]`), gguf.ErrFormat, "special_tokens_map.json"},
		"token is a number":     {set("tokenizer_config.json", `{"eos_token":1}`), gguf.ErrFormat, "tokenizer_config.json"},
		"other JSON":            {set("generation_config.json", `[`), gguf.ErrFormat, "generation_config.json"},

		"tensor missing":  {weights(func(s []stored) []stored { return s[1:] }), gguf.ErrFormat, `"h.0.input_layernorm.bias"`},
		"tensor left":     {weights(func(s []stored) []stored { return append(s, stored{"h.1.x", "F32", []int{1}, make([]byte, 4)}) }), gguf.ErrFormat, `"h.1.x"`},
		"tensor twice":    {weights(func(s []stored) []stored { s[1].name = "transformer." + s[0].name; return s }), gguf.ErrFormat, "twice"},
		"other shape":     {weights(func(s []stored) []stored { s[0].shape = []int{2, 16}; return s }), gguf.ErrFormat, "shape"},
		"other type":      {weights(func(s []stored) []stored { s[0].dtype = "I16"; return s }), gguf.ErrUnsupported, "I16"},
		"infinity":        {weight(0x7f80), gguf.ErrFormat, "infinite"},
		"minus infinity":  {weight(0xff80), gguf.ErrFormat, "infinite"},
		"no number":       {weight(0x7fc0), gguf.ErrFormat, "no number"},
		"too few layers":  {config(`"n_layer":1`, `"n_layer":2`), gguf.ErrFormat, `"h.1.input_layernorm.bias"`},
		"weights are cut": {func(f fstest.MapFS) { f["model.safetensors"].Data = f["model.safetensors"].Data[:5000] }, gguf.ErrFormat, "model.safetensors"},
		"a folder":        {func(f fstest.MapFS) { f["model.safetensors"].Mode |= fs.ModeDir }, gguf.ErrUnsupported, "model.safetensors"},

		"a device": {func(f fstest.MapFS) { f["model.safetensors"].Mode |= fs.ModeDevice }, gguf.ErrUnsupported, "model.safetensors"},

		"shards":          {shards(func(fstest.MapFS) {}), nil, ""},
		"shard missing":   {shards(remove(first)), fs.ErrNotExist, first},
		"shard elsewhere": {shards(set(index, `{"weight_map":{"a":"../model.safetensors"}}`)), gguf.ErrFormat, "no name"},
		"absolute shard":  {shards(set(index, `{"weight_map":{"a":"/etc/model.safetensors"}}`)), gguf.ErrFormat, "no name"},
		"shard below":     {shards(set(index, `{"weight_map":{"a":"x/model.safetensors"}}`)), gguf.ErrFormat, "no name"},
		"backslash":       {shards(set(index, `{"weight_map":{"a":"x\\model.safetensors"}}`)), gguf.ErrFormat, "no name"},
		"other shard":     {shards(set(index, `{"weight_map":{"a":"config.json"}}`)), gguf.ErrFormat, "no name"},
		"no shards":       {shards(set(index, `{"weight_map":{}}`)), gguf.ErrFormat, "no files"},
		"index is wrong":  {shards(set(index, `{"weight_map":{"a":"`+first+`"}}`)), gguf.ErrFormat, "where the index says"},
		"index is no map": {shards(set(index, `{"weight_map":[]}`)), gguf.ErrFormat, index},
		"many shards":     {shards(set(index, manyShards())), gguf.ErrLimit, "files"},
		"index names more": {shards(func(f fstest.MapFS) {
			f[index].Data = bytes.Replace(f[index].Data, []byte(`"weight_map":{`), []byte(`"weight_map":{"h.9.x":"`+first+`",`), 1)
		}), gguf.ErrFormat, `"h.9.x"`},
	} {
		folder := tiny()
		tt.change(folder)
		var out bytes.Buffer
		err := gguf.Convert(t.Context(), folder, &out, gguf.Options{})
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: error %v, want %v", name, err, tt.want)
			continue
		}
		if err != nil && (!strings.Contains(err.Error(), tt.says) || len(err.Error()) > 300) {
			t.Errorf("%s: %v, without %q", name, err, tt.says)
		}
		if early := tt.says != "infinite" && tt.says != "no number"; early && (err == nil) != (out.Len() > 0) {
			t.Errorf("%s: %v, but %d bytes", name, err, out.Len())
		}
	}
	for _, opts := range []gguf.Options{{Type: 30}, {Type: 2}, {Type: 999}} {
		if err := gguf.Convert(t.Context(), tiny(), &bytes.Buffer{}, opts); !errors.Is(err, gguf.ErrUnsupported) {
			t.Errorf("%v: %v", opts.Type, err)
		}
	}
	for typ, bits := range map[gguf.TensorType]uint16{gguf.F16: bfloat(65536), gguf.Q8_0: bfloat(1 << 23)} {
		folder := tiny()
		weight(bits)(folder)
		if err := gguf.Convert(t.Context(), folder, &bytes.Buffer{}, gguf.Options{Type: typ}); !errors.Is(err, gguf.ErrUnsupported) || !strings.Contains(err.Error(), "too large") {
			t.Errorf("%v: %v", typ, err)
		}
	}
}

func manyShards() string {
	var b strings.Builder
	b.WriteString(`{"weight_map":{"x":"x.safetensors"`)
	for i := range 1024 {
		fmt.Fprintf(&b, `,"%d":"%d.safetensors"`, i, i)
	}
	return b.String() + "}}"
}

// FuzzFolder converts folders with other JSON files.
func FuzzFolder(f *testing.F) {
	f.Add([]byte(tinyConfig), []byte(tinyTokenizer), []byte(`{"eos_token":{"content":"a"},"add_bos_token":true}`))
	f.Add([]byte(`{"model_type":"bloom","n_embed":32,"n_layer":1,"n_head":2,"vocab_size":7}`), []byte(tinyTokenizer), []byte(`{"eos_token":"b"}`))
	f.Fuzz(func(t *testing.T, config, tokenizer, special []byte) {
		folder := tiny()
		folder["config.json"], folder["tokenizer.json"], folder["tokenizer_config.json"] = file(config), file(tokenizer), file(special)
		var out bytes.Buffer
		err := gguf.Convert(t.Context(), folder, &out, gguf.Options{})
		if err == nil {
			parse(t, out.Bytes())
		} else if _, ok := errors.AsType[*gguf.Error](err); !ok {
			t.Errorf("%T %v", err, err)
		}
	})
}
