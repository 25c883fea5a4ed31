// Package bloom makes a model with the shape of bloom-560m and random weights.
// It is as large and as slow as the real one, and it is the same file wherever
// it is made, so measurements can be repeated without downloading anything.
// What it says means nothing.
//
// Text is made of words that are a token each: see Word. The tokens that would
// end a text, and those that are no such words, are never the likeliest: see
// Shape.Generate. So an answer has as many tokens as were asked for.
package bloom

import (
	"fmt"

	"github.com/nitroseal/nitroseal/inference/gguf"
)

// The numbers of bloom-560m: its embedding has 200 rows without a token.
const (
	vocabSize = 250_880
	tokenSize = 250_680
)

// Types of tokens in tokenizer.ggml.token_type.
const (
	typeNormal  int32 = 1
	typeControl int32 = 3
	typeUnused  int32 = 5
)

const (
	consonants = "bcdfghjklmnpqrstvwxz"
	vowels     = "aeiou"
	space      = "Ġ" // how byte-level BPE writes it
)

// vocabulary is a byte-level BPE. Its tokens are, in this order: four special
// ones, the 256 bytes, 100 syllables of a consonant and a vowel, the same with
// a space in front, and words of two and of three syllables with a space in
// front, as many as there is space for. The pair of each merge is a token, so
// any text can be tokenized: words of such syllables into one token each, and
// everything else into bytes and syllables.
type vocabulary struct {
	tokens []string
	types  []int32
	merges []string
	words  int // the number of the first word of a syllable or more
}

func newVocabulary() *vocabulary {
	v := &vocabulary{}
	for _, t := range []string{"<unk>", "<s>", "</s>", "<pad>"} {
		v.add(t, typeControl)
	}
	for b := range 256 {
		v.add(string(byteRune(byte(b))), typeNormal)
	}
	var syllables []string
	for _, c := range consonants {
		for _, w := range vowels {
			v.merge(string(c), string(w))
			syllables = append(syllables, string(c)+string(w))
		}
	}
	v.words = len(v.tokens)
	longer := []string{space}
	for len(v.tokens) < tokenSize {
		var words []string
		for _, first := range longer {
			for _, s := range syllables {
				if len(v.tokens) < tokenSize {
					v.merge(first, s)
					words = append(words, first+s)
				}
			}
		}
		longer = words
	}
	for i := tokenSize; i < vocabSize; i++ {
		v.add(fmt.Sprintf("[PAD%d]", i), typeUnused)
	}
	return v
}

// Words is how many words Word knows.
const Words = 20 * 100 * 100

// Word returns a word of three syllables with a space in front, such as
// " bakemi", that is one token. n is from 0 to Words-1.
func Word(n int) string {
	syllable := func(i int) string { return consonants[i/5:i/5+1] + vowels[i%5:i%5+1] }
	return " " + syllable(n/10_000) + syllable(n/100%100) + syllable(n%100)
}

func (v *vocabulary) add(token string, typ int32) {
	v.tokens, v.types = append(v.tokens, token), append(v.types, typ)
}

func (v *vocabulary) merge(left, right string) {
	v.add(left+right, typeNormal)
	v.merges = append(v.merges, left+" "+right)
}

// isWord says whether a token is one that the model may say.
func (v *vocabulary) isWord(token int) bool { return token >= v.words && token < tokenSize }

// byteRune returns the character that stands for a byte: itself if it can be
// seen, else one of those from U+0100 on, in order. This is GPT-2's table.
func byteRune(b byte) rune {
	seen := func(b byte) bool { return b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae }
	if seen(b) {
		return rune(b)
	}
	n := rune(0)
	for i := range b {
		if !seen(i) {
			n++
		}
	}
	return 0x100 + n
}

// metadata returns the pairs of a file of bloom-560m with that many layers.
func (v *vocabulary) metadata(layers int) gguf.Metadata {
	return gguf.Metadata{
		{Key: "general.architecture", Value: "bloom"},
		{Key: "general.type", Value: "model"},
		{Key: "general.name", Value: "random weights in the shape of bloom-560m"},
		{Key: "bloom.context_length", Value: uint32(2048)},
		{Key: "bloom.embedding_length", Value: uint32(hidden)},
		{Key: "bloom.feed_forward_length", Value: uint32(4 * hidden)},
		{Key: "bloom.block_count", Value: uint32(layers)},
		{Key: "bloom.attention.head_count", Value: uint32(heads)},
		{Key: "bloom.attention.head_count_kv", Value: uint32(heads)},
		{Key: "bloom.attention.layer_norm_epsilon", Value: float32(1e-5)},
		{Key: "bloom.vocab_size", Value: uint32(vocabSize)},
		{Key: "general.file_type", Value: uint32(7)}, // q8_0
		{Key: "general.quantization_version", Value: uint32(2)},
		{Key: "tokenizer.ggml.model", Value: "gpt2"},
		{Key: "tokenizer.ggml.pre", Value: "bloom"},
		{Key: "tokenizer.ggml.tokens", Value: v.tokens},
		{Key: "tokenizer.ggml.token_type", Value: v.types},
		{Key: "tokenizer.ggml.merges", Value: v.merges},
		{Key: "tokenizer.ggml.unknown_token_id", Value: uint32(0)},
		{Key: "tokenizer.ggml.bos_token_id", Value: uint32(1)},
		{Key: "tokenizer.ggml.eos_token_id", Value: uint32(2)},
		{Key: "tokenizer.ggml.padding_token_id", Value: uint32(3)},
		{Key: "tokenizer.ggml.add_bos_token", Value: false},
		{Key: "tokenizer.ggml.add_eos_token", Value: false},
	}
}
