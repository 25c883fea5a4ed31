package llama

import (
	"math"
	"slices"

	"github.com/nitroseal/nitroseal/inference"
)

// logProbs returns the log-probability of token and of the top likeliest ones
// by the model's own logits. bytes returns a token's bytes.
func logProbs(logits []float32, token int32, top int, bytes func(int32) []byte) inference.TokenLogProbs {
	largest := math.Inf(-1)
	for _, l := range logits {
		largest = max(largest, float64(l)) // NaN stays NaN
	}
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - largest)
	}
	norm := math.Log(sum)
	of := func(t int32) inference.LogProb {
		return inference.LogProb{Token: inference.Token(t), Bytes: bytes(t), LogProb: float32(float64(logits[t]) - largest - norm)}
	}
	out := inference.TokenLogProbs{LogProb: of(token)}
	for _, t := range largestOf(logits, top) {
		out.Top = append(out.Top, of(t))
	}
	return out
}

// largestOf returns the n tokens with the largest logits, the largest first
// and the lower token first where they are equal.
func largestOf(logits []float32, n int) []int32 {
	if n == 0 {
		return nil
	}
	best := make([]int32, 0, n+1)
	for i, l := range logits {
		if len(best) == n && !(l > logits[best[n-1]]) {
			continue
		}
		at := len(best)
		for at > 0 && l > logits[best[at-1]] {
			at--
		}
		best = slices.Insert(best, at, int32(i))
		best = best[:min(len(best), n)]
	}
	return best
}
