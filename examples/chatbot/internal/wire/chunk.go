package wire

import (
	"fmt"
	"log/slog"

	"github.com/nitroseal/nitroseal/envelope/session"
	"github.com/nitroseal/nitroseal/inference"
)

// Chunk is a piece of an answer, one message of the session each.
type Chunk struct {
	inference.Chunk
	// Receipt, in the last chunk of a question that asked for one, is a
	// session's receipt.
	Receipt []byte
}

// Format prints sizes only, whatever the verb.
func (c Chunk) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "%d bytes of answer", len(c.Text))
}

// LogValue shows sizes only.
func (c Chunk) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }

type wireLogProb struct {
	_       struct{} `cbor:",toarray"`
	Token   inference.Token
	Bytes   []byte
	LogProb float32
}

type wireTokenLogProbs struct {
	_      struct{} `cbor:",toarray"`
	Chosen wireLogProb
	Top    []wireLogProb
}

type wireUsage struct {
	_                         struct{} `cbor:",toarray"`
	Prompt, Cached, Generated int
}

type wireChunk struct {
	Text     string              `cbor:"1,keyasint,omitempty"`
	Tokens   []inference.Token   `cbor:"2,keyasint,omitempty"`
	LogProbs []wireTokenLogProbs `cbor:"3,keyasint,omitempty"`
	Finish   string              `cbor:"4,keyasint,omitempty"`
	Usage    *wireUsage          `cbor:"5,keyasint,omitempty"`
	Receipt  []byte              `cbor:"6,keyasint,omitempty"`
}

// EncodeChunk encodes c.
func EncodeChunk(c Chunk) ([]byte, error) {
	w := wireChunk{Text: c.Text, Tokens: c.Tokens, Finish: string(c.FinishReason), Receipt: c.Receipt}
	if c.Usage != nil {
		w.Usage = &wireUsage{Prompt: c.Usage.PromptTokens, Cached: c.Usage.CachedTokens, Generated: c.Usage.GeneratedTokens}
	}
	for _, t := range c.LogProbs {
		l := wireTokenLogProbs{Chosen: wireLogProbOf(t.LogProb)}
		for _, p := range t.Top {
			l.Top = append(l.Top, wireLogProbOf(p))
		}
		w.LogProbs = append(w.LogProbs, l)
	}
	return encode("chunk", w)
}

func wireLogProbOf(p inference.LogProb) wireLogProb {
	return wireLogProb{Token: p.Token, Bytes: p.Bytes, LogProb: p.LogProb}
}

func (w wireLogProb) logProb() inference.LogProb {
	return inference.LogProb{Token: w.Token, Bytes: w.Bytes, LogProb: w.LogProb}
}

// DecodeChunk is the inverse of EncodeChunk.
func DecodeChunk(b []byte) (Chunk, error) {
	var w wireChunk
	if len(b) > session.MaxMessage {
		return Chunk{}, fmt.Errorf("wire: a chunk of %d bytes", len(b))
	}
	if err := decode("chunk", b, &w); err != nil {
		return Chunk{}, err
	}
	c := Chunk{inference.Chunk{Text: w.Text, Tokens: w.Tokens, FinishReason: inference.FinishReason(w.Finish)}, w.Receipt}
	switch c.FinishReason {
	case "", inference.FinishStop, inference.FinishStopString, inference.FinishLength:
	default:
		return Chunk{}, fmt.Errorf("wire: a chunk with an unknown reason to finish")
	}
	if (c.FinishReason != "") != (w.Usage != nil) {
		return Chunk{}, fmt.Errorf("wire: a chunk must have both a reason to finish and a usage, or neither")
	}
	if w.Receipt != nil && w.Usage == nil {
		return Chunk{}, fmt.Errorf("wire: a receipt before the last chunk")
	}
	if w.Usage != nil {
		if min(w.Usage.Prompt, w.Usage.Cached, w.Usage.Generated) < 0 {
			return Chunk{}, fmt.Errorf("wire: a chunk with a negative usage")
		}
		c.Usage = &inference.Usage{PromptTokens: w.Usage.Prompt, CachedTokens: w.Usage.Cached, GeneratedTokens: w.Usage.Generated}
	}
	for _, l := range w.LogProbs {
		t := inference.TokenLogProbs{LogProb: l.Chosen.logProb()}
		for _, p := range l.Top {
			t.Top = append(t.Top, p.logProb())
		}
		c.LogProbs = append(c.LogProbs, t)
	}
	return c, nil
}
