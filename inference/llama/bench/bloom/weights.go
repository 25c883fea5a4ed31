package bloom

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// The numbers of bloom-560m.
const (
	hidden = 1024
	heads  = 16
)

// A block of Q8_0 has a scale in half precision and 32 signed bytes.
const (
	blockWeights = 32
	blockBytes   = 2 + blockWeights
)

// Shape is what can be chosen of a model.
type Shape struct {
	// Layers is 24 in bloom-560m.
	Layers int
	// Seed is that of the random weights.
	Seed uint64
}

// Generate writes the model. Weights are made as they are written, each tensor
// from a seed of its own.
//
// Matrices are random, with a variance that keeps the size of activations from
// layer to layer; the layers together add much more than the embedding has, and
// the feed-forward parts more than attention, so that what follows depends on
// the last token and is not that token again. The head is the embedding, as in
// bloom-560m, and this is how some tokens never win: the last normalization
// makes the first block of numbers 1, whatever the text, where the rows of
// those tokens have -1 and the others 0. So their logits are -32, and those of
// 250,000 others lie around 0 with a deviation of about 2.5.
func (s Shape) Generate(w io.Writer) error {
	v := newVocabulary()
	var all []gguf.Source
	add := func(name string, typ gguf.TensorType, data filler, dims ...uint64) {
		seed := [32]byte{}
		binary.LittleEndian.PutUint64(seed[:], s.Seed)
		binary.LittleEndian.PutUint64(seed[8:], uint64(len(all)))
		all = append(all, gguf.Source{
			Tensor: gguf.Tensor{Name: name, Type: typ, Dims: dims},
			Data:   &source{dims, data, seed},
		})
	}
	vector := func(name string, data filler, size uint64) { add(name, gguf.F32, data, size) }
	matrix := func(name string, strength float64, in, out uint64) {
		add(name+".weight", gguf.Q8_0, random(strength/math.Sqrt(float64(in))), in, out)
		vector(name+".bias", constant(0, 0), out)
	}
	norm := func(name string) {
		vector(name+".weight", constant(1, 1), hidden)
		vector(name+".bias", constant(0, 0), hidden)
	}
	adds := 3 * math.Sqrt(24/float64(s.Layers))
	add("token_embd.weight", gguf.Q8_0, embedding(v, 0.08), hidden, vocabSize)
	norm("token_embd_norm")
	for i := range s.Layers {
		blk := fmt.Sprintf("blk.%d.", i)
		norm(blk + "attn_norm")
		matrix(blk+"attn_qkv", 1, hidden, 3*hidden)
		matrix(blk+"attn_output", adds/4, hidden, hidden)
		norm(blk + "ffn_norm")
		matrix(blk+"ffn_up", 1, hidden, 4*hidden)
		matrix(blk+"ffn_down", 2*adds, 4*hidden, hidden)
	}
	vector("output_norm.weight", constant(0, 1), hidden)
	vector("output_norm.bias", constant(1, 0), hidden)
	return gguf.Write(w, v.metadata(s.Layers), all)
}

// A filler makes one row of a tensor, whose bytes are zero before.
type filler func(row int, b []byte, r *rand.ChaCha8)

// source makes a tensor row by row. It is an io.WriterTo.
type source struct {
	dims []uint64
	fill filler
	seed [32]byte
}

func (s *source) WriteTo(w io.Writer) (int64, error) {
	rows, size := 1, 4*s.dims[0]
	if len(s.dims) == 2 {
		rows, size = int(s.dims[1]), s.dims[0]/blockWeights*blockBytes
	}
	b := make([]byte, size)
	r := rand.NewChaCha8(s.seed)
	total := int64(0)
	for row := range rows {
		clear(b)
		s.fill(row, b, r)
		n, err := w.Write(b)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// constant fills a vector with first in the first block, and rest after it.
func constant(first, rest float32) filler {
	return func(_ int, b []byte, _ *rand.ChaCha8) {
		for i := 0; i < len(b); i += 4 {
			f := rest
			if i < 4*blockWeights {
				f = first
			}
			binary.LittleEndian.PutUint32(b[i:], math.Float32bits(f))
		}
	}
}

// random fills a row with weights of that standard deviation.
func random(deviation float64) filler {
	// That of the integers from -127 to 127, all equally likely.
	const ofBytes = 73.6
	scale := half(deviation / ofBytes)
	return func(_ int, b []byte, r *rand.ChaCha8) {
		for ; len(b) > 0; b = b[blockBytes:] {
			block := b[:blockBytes]
			r.Read(block)
			binary.LittleEndian.PutUint16(block, scale)
			for i, q := range block[2:] {
				if int8(q) == -128 { // no quantizer makes that
					block[2+i] = 0
				}
			}
		}
	}
}

// embedding fills rows at random but for their first block, which says whether
// the token can win.
func embedding(v *vocabulary, deviation float64) filler {
	fill := random(deviation)
	never := half(1. / 127)
	return func(row int, b []byte, r *rand.ChaCha8) {
		fill(row, b, r)
		first := b[:blockBytes]
		clear(first)
		if v.isWord(row) {
			return
		}
		binary.LittleEndian.PutUint16(first, never)
		for i := range blockWeights {
			first[2+i] = 0x81 // -127
		}
	}
}

// half returns a positive number as IEEE 754 half precision, cut off. It is in
// that format's normal range.
func half(f float64) uint16 {
	fraction, exponent := math.Frexp(f) // f = fraction × 2^exponent, fraction in [0.5, 1)
	return uint16(exponent+14)<<10 | uint16((fraction*2-1)*1024)
}
