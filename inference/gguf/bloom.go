package gguf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A part is a tensor of a BLOOM: its names in the folder and in the GGUF file,
// its shape as PyTorch writes it, and whether it is the fused projection whose
// rows change their order.
type part struct {
	from, to string
	shape    []int64
	fused    bool
}

// parts lists the tensors that a model has, in the order in which they are
// written: blocks by number, and within them by the folder's names.
func (c *config) parts() []part {
	h := c.Hidden
	var all []part
	pair := func(from, to string, out int64, in ...int64) {
		fused := strings.HasSuffix(to, "attn_qkv")
		all = append(all,
			part{from + ".bias", to + ".bias", []int64{out}, fused},
			part{from + ".weight", to + ".weight", append([]int64{out}, in...), fused})
	}
	for i := range c.Layers {
		from, to := fmt.Sprintf("h.%d.", i), fmt.Sprintf("blk.%d.", i)
		pair(from+"input_layernorm", to+"attn_norm", h)
		pair(from+"mlp.dense_4h_to_h", to+"ffn_down", h, 4*h)
		pair(from+"mlp.dense_h_to_4h", to+"ffn_up", 4*h, h)
		pair(from+"post_attention_layernorm", to+"ffn_norm", h)
		pair(from+"self_attention.dense", to+"attn_output", h, h)
		pair(from+"self_attention.query_key_value", to+"attn_qkv", 3*h, h)
	}
	pair("ln_f", "output_norm", h)
	all = append(all, part{"word_embeddings.weight", "token_embd.weight", []int64{c.Vocab, h}, false})
	pair("word_embeddings_layernorm", "token_embd_norm", h)
	if !c.tied() {
		all = append(all, part{headName, "output.weight", []int64{c.Vocab, h}, false})
	}
	return all
}

// headName is the output matrix. Where it is tied to the embedding, folders
// may hold it or leave it out, and it is not used.
const headName = "lm_head.weight"

// match finds the weights of each part and refuses any that are missing, of
// another shape, or left over.
func (c *checkpoint) match(parts []part) ([]*weights, error) {
	rest := maps.Clone(c.tensors)
	found := make([]*weights, len(parts))
	for i, p := range parts {
		w, ok := rest[p.from]
		if !ok {
			return nil, malformed("tensor "+quote(p.from), "it is missing")
		}
		if !slices.Equal(w.Shape, p.shape) {
			return nil, malformed("tensor "+quote(w.name), "shape %d, but %s asks for %d", w.Shape, configFile, p.shape)
		}
		found[i] = w
		delete(rest, p.from)
	}
	delete(rest, headName)
	for _, name := range slices.Sorted(maps.Keys(rest)) {
		return nil, malformed("tensor "+quote(rest[name].name), "a BLOOM of this shape has no such tensor")
	}
	return found, nil
}

// span is a run of weights, counted from the tensor's first.
type span struct{ from, count int64 }

// spans returns the order in which the weights of a part are written.
//
// BLOOM computes queries, keys and values with one matrix whose rows are
// interleaved by head: first the head's rows for queries, then those for its
// keys and its values, then the next head. libllama wants all queries, then
// all keys, then all values, each in the order of heads. The bias likewise.
func (p part) spans(heads int64) []span {
	count := int64(1)
	for _, d := range p.shape {
		count *= d
	}
	if !p.fused {
		return []span{{0, count}}
	}
	each := count / (3 * heads)
	var all []span
	for role := range int64(3) {
		for head := range heads {
			all = append(all, span{(head*3 + role) * each, each})
		}
	}
	return all
}

// written returns the type and dimensions of a part in the GGUF file. Vectors
// stay in single precision, which is what ggml's operations on them want.
// Rows that are no whole blocks are written in half precision instead, as
// llama.cpp does.
func (p part) written(asked TensorType) Tensor {
	t := Tensor{Name: p.to, Type: asked}
	for _, d := range slices.Backward(p.shape) {
		t.Dims = append(t.Dims, uint64(d))
	}
	switch {
	case len(p.shape) == 1:
		t.Type = F32
	case asked == Q8_0 && t.Dims[0]%blockWeights != 0:
		t.Type = F16
	}
	return t
}
