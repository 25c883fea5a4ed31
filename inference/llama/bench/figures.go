package main

import (
	"math"
	"slices"
)

// inWave applies a figure to one wave.
func inWave(n int, of func([]trace) float64) func([][]trace) float64 {
	return func(waves [][]trace) float64 { return of(waves[n]) }
}

// eachWave is the median of a figure over all waves.
func eachWave(of func([]trace) float64) func([][]trace) float64 {
	return func(waves [][]trace) float64 {
		var all []float64
		for _, w := range waves {
			all = append(all, of(w))
		}
		return median(all)
	}
}

// totalRate is all generated tokens by the time from the start to the last of
// them.
func totalRate(traces []trace) float64 {
	tokens, end := 0, 0.0
	for _, t := range traces {
		tokens += len(t.Times)
		end = max(end, t.Times[len(t.Times)-1])
	}
	return float64(tokens) / end
}

// generationRate is like llama-bench's: a step for each token, the first of
// which is given one token of prompt.
func generationRate(traces []trace) float64 { return totalRate(traces) }

// promptRate is the prompt's tokens by the time to the first token.
func promptRate(traces []trace) float64 { return promptTokens / traces[0].Times[0] }

// firstToken is a quantile of the times to the first token, in milliseconds.
func firstToken(q float64) func([]trace) float64 {
	return func(traces []trace) float64 {
		var all []float64
		for _, t := range traces {
			all = append(all, t.Times[0]*1e3)
		}
		return quantile(all, q)
	}
}

// betweenTokens is a quantile of the times from one token to the next of the
// same answer, in milliseconds.
func betweenTokens(q float64) func([]trace) float64 {
	return func(traces []trace) float64 {
		var all []float64
		for _, t := range traces {
			for i := range t.Times[1:] {
				all = append(all, (t.Times[i+1]-t.Times[i])*1e3)
			}
		}
		return quantile(all, q)
	}
}

// quantile is the least of the values that at least that share of all does not
// exceed.
func quantile(all []float64, q float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	all = slices.Sorted(slices.Values(all))
	return all[max(int(math.Ceil(q*float64(len(all))))-1, 0)]
}

// median is the value in the middle, or the mean of the two there.
func median(all []float64) float64 {
	if len(all) == 0 {
		return math.NaN()
	}
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func largest(all []float64) float64 { return slices.Max(all) }
