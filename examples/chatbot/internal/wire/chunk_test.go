package wire

import (
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/inference"
)

func TestChunkRoundTrips(t *testing.T) {
	many := make([]inference.Token, 256) // as many as a held-back stop string has
	for name, c := range map[string]Chunk{
		"many tokens":       {Chunk: inference.Chunk{Text: strings.Repeat("x", 256), Tokens: many}},
		"a token alone":     {Chunk: inference.Chunk{Tokens: []inference.Token{math.MaxInt32}}},
		"impossible":        {Chunk: inference.Chunk{Tokens: []inference.Token{1}, LogProbs: []inference.TokenLogProbs{{LogProb: inference.LogProb{Token: 1, LogProb: float32(math.Inf(-1))}}}}},
		"stop string":       {Chunk: inference.Chunk{FinishReason: inference.FinishStopString, Usage: &inference.Usage{PromptTokens: math.MaxInt32}}},
		"text in the last":  {Chunk: inference.Chunk{Text: "é", FinishReason: inference.FinishLength, Usage: &inference.Usage{}}},
		"with alternatives": {Chunk: inference.Chunk{Tokens: []inference.Token{1}, LogProbs: []inference.TokenLogProbs{{Top: make([]inference.LogProb, inference.MaxTopLogProbs)}}}},
	} {
		b, err := EncodeChunk(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := DecodeChunk(b); err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("%s: not what it was: %v", name, err)
		}
	}
}

func TestDecodeChunkRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"nothing":               "",
		"another type":          "80",
		"null":                  "f6",
		"trailing bytes":        "a1 01 6161 00",
		"cut off":               "a1 01 62 61",
		"unknown key":           "a1 07 00",
		"key twice":             "a2 01 6161 01 6161",
		"keys in disorder":      "a2 02 81 04 01 6161",
		"indefinite":            "bf 01 6161 ff",
		"tagged":                "a1 01 c0 6161",
		"longer than need be":   "a1 01 7801 61",
		"empty text said":       "a1 01 60",
		"text as bytes":         "a1 01 4161",
		"text not UTF-8":        "a1 01 61ff",
		"tokens as bytes":       "a1 02 4104",
		"token over 2^31":       "a1 02 81 1a80000000",
		"token as float":        "a1 02 81 f93c00",
		"unknown finish":        "a2 04 63 626164 05 83 00 00 00",
		"finish without usage":  "a1 04 64 73746f70",
		"usage without finish":  "a1 05 83 00 00 00",
		"usage of two":          "a2 04 64 73746f70 05 82 00 00",
		"usage of four":         "a2 04 64 73746f70 05 84 00 00 00 00",
		"usage as map":          "a2 04 64 73746f70 05 a0",
		"negative usage":        "a2 04 64 73746f70 05 83 20 00 00",
		"log-probability of 1":  "a1 03 81 81 83 00 f6 f90000",
		"log-probability alone": "a1 03 81 83 00 f6 f90000",
		"receipt as text":       "a3 04 64 73746f70 05 83 00 00 00 06 6161",
		"receipt before":        "a1 06 42 0102",
		"2^32 tokens":           "a1 02 9affffffff",
		"2,000 tokens":          "a1 02 99 07d0" + strings.Repeat("00", 2000),
	} {
		if c, err := DecodeChunk(unhex(t, in)); err == nil || !reflect.DeepEqual(c, Chunk{}) {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	if _, err := DecodeChunk(make([]byte, session.MaxMessage+1)); err == nil {
		t.Error("over the limit")
	}
}
