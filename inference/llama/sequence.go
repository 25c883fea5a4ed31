package llama

import (
	"github.com/nitroseal/nitroseal/inference"
)

// A sequence is a job that runs. Only the scheduler's goroutine uses it, but
// for live, which the scheduler's mutex guards.
type sequence struct {
	job     *job
	slot    *slot // its cells in the key-value cache
	sampler *sampler
	text    *text
	scope   string // keep the cells for it in the end; empty means no
	stop    func() bool

	// Where a running sequence computes the same beginning, this one waits
	// and takes over the first lead tokens.
	leader *sequence
	lead   int

	read      int               // prompt tokens in the cache
	cached    int               // those of them that were not computed for this job
	put       int               // prompt tokens in this step's batch
	row       int32             // of its logits in this step's batch, or -1
	next      int32             // sampled, not in the cache yet
	generated int               // tokens sampled, without the end
	decoded   int               // those of them that are in the cache
	tail      []inference.Token // the sampled tokens, if scope wants them
	last      inference.Chunk   // to send when the sequence has been freed

	live bool // in the step under way, and not cancelled
}

// reading says whether part of the prompt is still to compute.
func (q *sequence) reading() bool { return q.read < len(q.job.prompt) }

// shares returns how many tokens of its prompt another job may take over.
func (q *sequence) shares(j *job) int {
	n := min(common(q.job.prompt, j.prompt), len(j.prompt)-1)
	if q.scope == "" || q.scope != j.req.CacheScope {
		n = min(n, q.job.public)
	}
	return n
}

// inCache returns a copy of the tokens whose cells the sequence has.
func (q *sequence) inCache() []inference.Token {
	tokens := make([]inference.Token, 0, q.read+q.decoded)
	tokens = append(tokens, q.job.prompt[:q.read]...)
	return append(tokens, q.tail[:min(len(q.tail), q.decoded)]...)
}

// finish returns the last chunk: text that is sure, and what was held back
// unless a stop string cut it off.
func (q *sequence) finish(c inference.Chunk, why inference.FinishReason) inference.Chunk {
	if why != inference.FinishStopString {
		c.Text += q.text.flush()
	}
	c.FinishReason = why
	c.Usage = &inference.Usage{PromptTokens: len(q.job.prompt), CachedTokens: q.cached, GeneratedTokens: q.generated}
	return c
}

// remember notes a sampled token for the scope.
func (q *sequence) remember(token int32) {
	if q.scope != "" {
		q.tail = append(q.tail, inference.Token(token))
	}
}
