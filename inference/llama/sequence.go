package llama

import (
	"math"

	"github.com/nitroseal/nitroseal/inference"
	"github.com/nitroseal/nitroseal/inference/llama/internal/native"
)

// A sequence is a job that has a slot. Only the scheduler's goroutine uses it.
type sequence struct {
	job     *job
	id      int32  // of its cells in the key-value cache
	age     uint64 // of its admission
	sampler native.Sampler
	text    *text

	read      int   // prompt tokens decoded
	pos       int32 // position of the next token
	next      int32 // sampled, not yet decoded
	row       int32 // of its logits in the batch, or -1
	generated int
}

func newSequence(lib *native.Lib, j *job, id int32, age uint64) *sequence {
	q := &sequence{job: j, id: id, age: age, sampler: newSampler(lib, &j.req), text: newText(j.req.Stop), row: -1}
	if penalized(&j.req) {
		for _, t := range j.prompt {
			lib.SamplerAccept(q.sampler, int32(t))
		}
	}
	return q
}

// finish sends the last chunk: text that is sure, and what was held back
// unless a stop string cut it off.
func (q *sequence) finish(out string, tokens []inference.Token, why inference.FinishReason) {
	if why != inference.FinishStopString {
		out += q.text.flush()
	}
	q.job.out.put(inference.Chunk{
		Text:         out,
		Tokens:       tokens,
		FinishReason: why,
		Usage:        &inference.Usage{PromptTokens: len(q.job.prompt), GeneratedTokens: q.generated},
	})
}

func penalized(r *inference.Request) bool { return r.RepeatPenalty != 0 && r.RepeatPenalty != 1 }

// newSampler builds the chain in llama.cpp's usual order: penalties, top-k,
// top-p, min-p, temperature, draw.
func newSampler(lib *native.Lib, r *inference.Request) native.Sampler {
	chain := lib.NewChain()
	if penalized(r) {
		window := r.RepeatWindow
		if window == 0 {
			window = 64
		}
		lib.SamplerAdd(chain, lib.SamplerPenalties(int32(window), r.RepeatPenalty, 0, 0))
	}
	if r.Temperature == 0 {
		lib.SamplerAdd(chain, lib.SamplerGreedy())
		return chain
	}
	if r.TopK > 0 {
		lib.SamplerAdd(chain, lib.SamplerTopK(int32(r.TopK)))
	}
	if r.TopP > 0 && r.TopP < 1 {
		lib.SamplerAdd(chain, lib.SamplerTopP(r.TopP, 1))
	}
	if r.MinP > 0 {
		lib.SamplerAdd(chain, lib.SamplerMinP(r.MinP, 1))
	}
	lib.SamplerAdd(chain, lib.SamplerTemp(r.Temperature))
	seed := r.Seed
	if seed == math.MaxUint32 {
		seed-- // llama.cpp takes this one for "random"
	}
	lib.SamplerAdd(chain, lib.SamplerDist(seed))
	return chain
}
