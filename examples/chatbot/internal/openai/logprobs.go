package openai

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nitroseal/nitroseal/inference"
)

// leastLogProb stands for everything less likely, and for what JSON has no
// number for, as in OpenAI's API.
const leastLogProb = -9999

func logProb(p float32) float64 {
	if f := float64(p); f >= leastLogProb && f <= 0 {
		return f
	}
	if p > 0 { // the rounding of a certainty
		return 0
	}
	return leastLogProb
}

type chatLogProbs struct {
	Content []chatToken `json:"content"`
	Refusal []chatToken `json:"refusal"`
}

type chatToken struct {
	chatTop
	Top []chatTop `json:"top_logprobs"`
}

type chatTop struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	Bytes   []int   `json:"bytes"`
}

// chatProbs returns nil, which is null, if there are none.
func chatProbs(probs []inference.TokenLogProbs) *chatLogProbs {
	if len(probs) == 0 {
		return nil
	}
	out := &chatLogProbs{}
	for _, p := range probs {
		t := chatToken{chatTop: top(p.LogProb), Top: []chatTop{}}
		for _, alt := range p.Top {
			t.Top = append(t.Top, top(alt))
		}
		out.Content = append(out.Content, t)
	}
	return out
}

func top(p inference.LogProb) chatTop {
	t := chatTop{Token: tokenText(p.Bytes, ""), LogProb: logProb(p.LogProb), Bytes: []int{}}
	for _, b := range p.Bytes {
		t.Bytes = append(t.Bytes, int(b))
	}
	return t
}

// tokenText returns the text of a token. One that is not made of whole
// characters is spelled byte by byte, after prefix.
func tokenText(b []byte, prefix string) string {
	if utf8.Valid(b) {
		return string(b)
	}
	var s strings.Builder
	s.WriteString(prefix)
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

type completionLogProbs struct {
	Tokens   []string             `json:"tokens"`
	LogProbs []float64            `json:"token_logprobs"`
	Top      []map[string]float64 `json:"top_logprobs"`
	Offsets  []int                `json:"text_offset"`
}

// bytePrefix begins the names of tokens that are not text in completions.
const bytePrefix = "bytes:"

// probs returns nil, which is null, unless they were asked for. Of tokens that
// read the same, the likeliest stays; the generated one is always there.
func (f *completionForm) probs(probs []inference.TokenLogProbs) *completionLogProbs {
	if !f.logprobs {
		return nil
	}
	out := &completionLogProbs{Tokens: []string{}, LogProbs: []float64{}, Top: []map[string]float64{}, Offsets: []int{}}
	for _, p := range probs {
		name := tokenText(p.Bytes, bytePrefix)
		alts := map[string]float64{}
		for _, alt := range p.Top {
			if n := tokenText(alt.Bytes, bytePrefix); !has(alts, n) {
				alts[n] = logProb(alt.LogProb)
			}
		}
		if !has(alts, name) {
			alts[name] = logProb(p.LogProb.LogProb)
		}
		out.Tokens = append(out.Tokens, name)
		out.LogProbs = append(out.LogProbs, logProb(p.LogProb.LogProb))
		out.Top = append(out.Top, alts)
		out.Offsets = append(out.Offsets, f.offsets.next(p.Bytes))
	}
	return out
}

func has(m map[string]float64, name string) bool {
	_, ok := m[name]
	return ok
}

// offsets counts the characters of the tokens of an answer.
type offsets struct {
	chars int
	rest  []byte // the beginning of a character, at most 3 bytes
}

// next returns where the token of these bytes begins: for one that continues a
// character, where that began.
func (o *offsets) next(b []byte) int {
	at := o.chars
	b = append(o.rest, b...)
	for len(b) > 0 && utf8.FullRune(b) {
		_, n := utf8.DecodeRune(b)
		b = b[n:]
		o.chars++
	}
	o.rest = append([]byte(nil), b...)
	return at
}
