package llama

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/grammar"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// errNoToken means that no token can follow: all logits are NaN or -Inf, or
// the grammar allows none of the vocabulary.
var errNoToken = errors.New("llama: no token can follow")

// A sampler chooses the tokens of one request: with llama.cpp's samplers, and
// so that the answer matches a grammar. The grammar is followed by package
// grammar and not by libllama, which ends the process when it is told of a
// token that does not fit, and takes seconds for some grammars.
type sampler struct {
	lib    *native.Lib
	chain  native.Sampler // 0 if the likeliest token is wanted as it is
	window int            // of the penalties, in tokens

	constrained bool
	state       grammar.State // of the answer so far, if constrained
	words       *vocabulary
}

// coldest is the lowest temperature that is not greedy: logits divided by less
// could overflow, and the draw would be the same as greedy anyway.
const coldest = 1e-6

// newSampler builds the chain in llama.cpp's usual order: penalties, top-k,
// top-p, min-p, temperature, draw. g is nil for free text.
func newSampler(lib *native.Lib, words *vocabulary, r *inference.Request, g *grammar.Grammar) *sampler {
	s := &sampler{lib: lib, words: words}
	if g != nil {
		words.load()
		s.constrained, s.state = true, g.Start()
	}
	greedy := r.Temperature < coldest
	if greedy && !penalized(r) {
		return s
	}
	s.chain = lib.NewChain()
	if penalized(r) {
		if s.window = r.RepeatWindow; s.window == 0 {
			s.window = 64
		}
		lib.SamplerAdd(s.chain, lib.SamplerPenalties(int32(s.window), r.RepeatPenalty, 0, 0))
	}
	if greedy {
		lib.SamplerAdd(s.chain, lib.SamplerGreedy())
		return s
	}
	if r.TopK > 0 {
		lib.SamplerAdd(s.chain, lib.SamplerTopK(int32(r.TopK)))
	}
	if r.TopP > 0 && r.TopP < 1 {
		lib.SamplerAdd(s.chain, lib.SamplerTopP(r.TopP, 1))
	}
	if r.MinP > 0 {
		lib.SamplerAdd(s.chain, lib.SamplerMinP(r.MinP, 1))
	}
	lib.SamplerAdd(s.chain, lib.SamplerTemp(r.Temperature))
	seed := r.Seed
	if seed == math.MaxUint32 {
		seed-- // llama.cpp takes this one for "random"
	}
	lib.SamplerAdd(s.chain, lib.SamplerDist(seed))
	return s
}

func penalized(r *inference.Request) bool { return r.RepeatPenalty != 0 && r.RepeatPenalty != 1 }

// prime tells the penalties what the prompt says.
func (s *sampler) prime(prompt []inference.Token) {
	if s.chain == 0 {
		return
	}
	for _, t := range prompt[max(0, len(prompt)-s.window):] {
		s.lib.SamplerAccept(s.chain, int32(t))
	}
}

// sample chooses a token. logits is one row of the model's, which stays as it
// is; scratch is as long, and its content does not matter.
func (s *sampler) sample(logits []float32, scratch []native.Candidate) (int32, error) {
	token, err := s.choose(logits, scratch, false)
	// Most tokens fit the grammar already. To test one is far cheaper than to
	// test the vocabulary, and since a token that does not fit is drawn anew
	// among those that do, the odds are the same (with top-k, top-p or min-p, nearly).
	if err == nil && s.constrained && !s.fits(token) {
		token, err = s.choose(logits, scratch, true)
	}
	if err != nil {
		return -1, err
	}
	return token, nil
}

// accept tells the samplers that a token, which sample returned and which does
// not end the answer, has been taken.
func (s *sampler) accept(token int32) {
	if s.constrained {
		s.state, _ = s.state.Next(s.words.texts[token])
	}
	if s.chain != 0 {
		s.lib.SamplerAccept(s.chain, token)
	}
}

// choose applies the chain to all tokens, or to those that fit the grammar.
func (s *sampler) choose(logits []float32, scratch []native.Candidate, fitting bool) (int32, error) {
	if s.chain == 0 && !fitting {
		return likeliest(logits)
	}
	candidates := scratch[:0]
	for i, l := range logits {
		// Not NaN either, which the samplers could not sort.
		if l > float32(math.Inf(-1)) && (!fitting || s.fits(int32(i))) {
			candidates = append(candidates, native.Candidate{ID: int32(i), Logit: l})
		}
	}
	// libllama's samplers are not made for having nothing to choose from.
	if len(candidates) == 0 {
		return -1, errNoToken
	}
	if s.chain == 0 {
		best := slices.MaxFunc(candidates, func(a, b native.Candidate) int { return cmp.Compare(a.Logit, b.Logit) })
		return best.ID, nil
	}
	c := native.Candidates{Data: &candidates[0], Size: uintptr(len(candidates)), Selected: -1}
	s.lib.SamplerApply(s.chain, &c)
	if c.Selected < 0 || c.Selected >= int64(c.Size) || c.Size > uintptr(len(candidates)) {
		return -1, errNoToken
	}
	return candidates[c.Selected].ID, nil
}

// fits says whether the grammar allows a token next.
func (s *sampler) fits(token int32) bool {
	if s.words.end[token] {
		return s.state.Done()
	}
	// A token without text could be taken for ever.
	text := s.words.texts[token]
	if text == "" {
		return false
	}
	_, ok := s.state.Next(text)
	return ok
}

// free releases the native samplers.
func (s *sampler) free() {
	if s.chain != 0 {
		s.lib.SamplerFree(s.chain)
	}
	s.chain = 0
}

// likeliest returns the first of the tokens with the largest logit, which is
// what llama.cpp's greedy sampler does, without its copy of the vocabulary.
func likeliest(logits []float32) (int32, error) {
	// Blocks with four running maxima, which the processor computes side by
	// side; the place is looked for once, in the block that has the largest.
	// All comparisons are false for NaN.
	const size = 1024
	inf := float32(math.Inf(-1))
	best, block := inf, -1
	for from := 0; from < len(logits); from += size {
		b := logits[from:min(from+size, len(logits))]
		m0, m1, m2, m3 := inf, inf, inf, inf
		for len(b) >= 4 {
			if b[0] > m0 {
				m0 = b[0]
			}
			if b[1] > m1 {
				m1 = b[1]
			}
			if b[2] > m2 {
				m2 = b[2]
			}
			if b[3] > m3 {
				m3 = b[3]
			}
			b = b[4:]
		}
		for _, l := range b {
			if l > m0 {
				m0 = l
			}
		}
		if m := max(m0, m1, m2, m3); m > best {
			best, block = m, from
		}
	}
	if block < 0 {
		return -1, errNoToken
	}
	return int32(block + slices.Index(logits[block:], best)), nil
}
