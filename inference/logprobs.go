package inference

// MaxTopLogProbs is the most alternatives in Request.TopLogProbs.
const MaxTopLogProbs = 20

// A LogProb is the natural logarithm of the probability that the model, before
// any setting of sampling, gave a token.
type LogProb struct {
	Token Token
	// Bytes are the token's bytes. They need not be whole characters; special
	// tokens have none.
	Bytes   []byte
	LogProb float32
}

// TokenLogProbs belongs to one generated token.
type TokenLogProbs struct {
	LogProb
	// Top are the likeliest tokens in its place, Request.TopLogProbs of them,
	// the likeliest first. The generated token need not be among them.
	Top []LogProb
}
