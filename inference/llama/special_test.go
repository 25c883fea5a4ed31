package llama

import (
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

func TestSpecialsCut(t *testing.T) {
	for _, tt := range []struct {
		text  string
		words []string
		want  []string
	}{
		{"", nil, []string{""}},
		{"a<x>b<x>", []string{"<x>"}, []string{"a<", "x>b<", "x>"}},
		{"aaa", []string{"aa"}, []string{"a", "a", "a"}},
		{"\u00e9xy\u00e9x", []string{"\u00e9x", "xy", "xyz"}, []string{"\u00e9", "x", "y\u00e9", "x"}},
		{"ab\x00", []string{"ba", "abc", "b", "  "}, []string{"ab\x00"}},
	} {
		s := newSpecials()
		for i, w := range tt.words {
			s.add(inference.Token(i), w, false)
		}
		var got []string
		for _, piece := range s.cut([]byte(tt.text)) {
			got = append(got, string(piece))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestSpelledOften has a text that spells a special token over and over. Left
// to the library, it would take a millisecond each time.
func TestSpelledOften(t *testing.T) {
	m := openFixture(t, withMarkers(t, typeUserDefined, []string{"<|start|>"}), Options{})
	lib := *m.tokenizer.lib
	calls, tokenize := 0, lib.Tokenize
	lib.Tokenize = func(v native.Vocab, text *byte, n int32, out *int32, size int32, addSpecial, parseSpecial bool) int32 {
		calls++
		return tokenize(v, text, n, out, size, addSpecial, parseSpecial)
	}
	m.tokenizer.lib = &lib
	text := strings.Repeat("<|start|> ", 5000)
	tokens, err := m.tokenizer.read(asText, false, text)
	if err != nil || slices.Contains(tokens, firstMarker) || spell(m, tokens) != text {
		t.Errorf("%d tokens, %v", len(tokens), err)
	}
	if calls < 1 || calls > 4 {
		t.Errorf("%d calls of the library", calls)
	}
	// The character that keeps the pieces apart must not be one of the text.
	text = "\ue000<|start|>\ue001\ue000<|start|>"
	if tokens, err := m.tokenizer.read(asText, false, text); err != nil || spell(m, tokens) != text {
		t.Errorf("%q, %v", spell(m, tokens), err)
	}
}
