package llama

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// Types of tokens in a model file.
const (
	typeNormal      = int32(1)
	typeUnknown     = int32(2)
	typeControl     = int32(3)
	typeUserDefined = int32(4)
	typeUnused      = int32(5)
	typeByte        = int32(6)
)

// metadata is what a fixture changes; nil values are left out.
type metadata map[string]any

// fixture writes the test model with other metadata and returns its path.
func fixture(t testing.TB, change metadata) string {
	t.Helper()
	data, err := os.ReadFile("testdata/larkfield-bloom-f16.gguf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var md gguf.Metadata
	for _, kv := range f.Metadata {
		if _, changed := change[kv.Key]; !changed {
			md = append(md, kv)
		}
	}
	for key, value := range change {
		if value != nil {
			md = append(md, gguf.KeyValue{Key: key, Value: value})
		}
	}
	var tensors []gguf.Source
	for _, tensor := range f.Tensors {
		tensors = append(tensors, gguf.Source{Tensor: tensor, Data: bytes.NewReader(data[tensor.Offset:][:tensor.Size])})
	}
	path := filepath.Join(t.TempDir(), "fixture.gguf")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := gguf.Write(out, md, tensors); err != nil {
		t.Fatal(err)
	}
	return path
}

// firstMarker is the first token that withMarkers gives another meaning.
const firstMarker = 2300

// withMarkers returns the metadata of a vocabulary that has words as tokens of
// a type, from firstMarker on.
func withMarkers(t testing.TB, kind int32, words []string) metadata {
	t.Helper()
	data, err := os.ReadFile("testdata/larkfield-bloom-f16.gguf")
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	tokens, _ := f.Metadata.Texts("tokenizer.ggml.tokens")
	types, _ := f.Metadata.Get("tokenizer.ggml.token_type")
	kinds := types.([]int32)
	if firstMarker+len(words) > len(tokens) {
		t.Fatalf("%d markers are too many", len(words))
	}
	for i, w := range words {
		tokens[firstMarker+i], kinds[firstMarker+i] = w, kind
	}
	// Nor must anything be put together to a word that is gone.
	var merges []string
	left, _ := f.Metadata.Texts("tokenizer.ggml.merges")
	for _, merge := range left {
		if slices.Contains(tokens, strings.ReplaceAll(merge, " ", "")) {
			merges = append(merges, merge)
		}
	}
	return metadata{"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges}
}

// spmVocabulary returns the metadata of a SentencePiece vocabulary of single
// characters, which puts a space before every text and a <s> before that.
func spmVocabulary() metadata {
	tokens := []string{"<unk>", "<s>", "</s>"}
	kinds := []int32{typeUnknown, typeControl, typeControl}
	add := func(kind int32, s string) {
		tokens, kinds = append(tokens, s), append(kinds, kind)
	}
	for b := range 256 {
		add(typeByte, fmt.Sprintf("<0x%02X>", b))
	}
	add(typeNormal, "\u2581")
	for c := '!'; c <= '~'; c++ {
		add(typeNormal, string(c))
	}
	add(typeNormal, "\u2581h")
	add(typeNormal, "\u2581\u2581")
	for len(tokens) < 2560 {
		add(typeUnused, fmt.Sprintf("[unused%d]", len(tokens)))
	}
	scores := make([]float32, len(tokens))
	for i := range scores {
		scores[i] = -float32(i)
	}
	return metadata{
		"tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default", "tokenizer.ggml.merges": nil,
		"tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.scores": scores,
		"tokenizer.ggml.padding_token_id": nil, "tokenizer.ggml.add_bos_token": true,
	}
}

// openFixture opens a fixture, or the test model if there is nothing to change.
func openFixture(t testing.TB, change metadata, opts Options) *Model {
	t.Helper()
	opts.ModelPath, opts.Threads = fixture(t, change), 1
	m, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}
