package inference

import (
	"context"
	"iter"
)

// Token is the number of one entry in a model's vocabulary.
type Token int32

// Model generates text. Implementations are safe for concurrent use.
type Model interface {
	// Generate answers one request. The sequence yields chunks in order; the
	// last one, and only that, has a FinishReason and a Usage. On failure the
	// sequence yields one zero Chunk with an error and ends: there is no
	// result beside an error, and chunks seen before it are an unfinished
	// answer. Leaving the loop early, or ending ctx, stops the work within
	// one decode step. Work starts when the sequence is ranged over, and
	// again each time it is.
	//
	// The errors are [ErrInvalidRequest], [ErrPromptTooLong],
	// [ErrOverloaded], [ErrClosed], ctx's own error, or one that says that
	// the model failed.
	Generate(ctx context.Context, req Request) iter.Seq2[Chunk, error]

	// Tokenize returns the tokens of text as Generate would read it. Text
	// that spells a special token is read as the characters it has.
	Tokenize(ctx context.Context, text string) ([]Token, error)

	// Info describes the model. It never changes.
	Info() Info

	// Close ends running requests with [ErrClosed], waits for them and
	// releases the model. Closing again does nothing.
	Close() error
}

// Info describes a loaded model.
type Info struct {
	// Name is the model's own name for itself, or empty. It is text from the
	// model file: do not trust it.
	Name string
	// Digest is the SHA-256 of the model file in lower-case hexadecimal, or
	// empty if there is no file.
	Digest string
	// Parameters counts the model's weights.
	Parameters uint64
	// VocabularySize counts its tokens.
	VocabularySize int
	// MaxTokens is the most tokens that prompt and answer of one request may
	// have together.
	MaxTokens int
	// MaxConcurrent is how many requests are worked on at once; more wait.
	MaxConcurrent int
	// Engine names the implementation and its version.
	Engine string
}

// Chunk is a piece of an answer.
type Chunk struct {
	// Text is valid UTF-8 as it came from the model. It may be empty: a
	// character can take several tokens, and text that may be the beginning
	// of a stop string is held back.
	Text string
	// Tokens are the tokens generated since the last chunk, without the one
	// that ends the answer. The characters of a token can come in a later
	// chunk.
	Tokens []Token
	// LogProbs belong to Tokens one by one, if the request asked for them.
	LogProbs []TokenLogProbs
	// FinishReason is empty in all chunks but the last.
	FinishReason FinishReason
	// Usage is nil in all chunks but the last.
	Usage *Usage
}

// FinishReason says why an answer ended.
type FinishReason string

// The reasons to finish.
const (
	// FinishStop means that the model ended the answer.
	FinishStop FinishReason = "stop"
	// FinishStopString means that one of Request.Stop appeared.
	FinishStopString FinishReason = "stop_string"
	// FinishLength means that MaxTokens, or the space of the model, was used
	// up.
	FinishLength FinishReason = "length"
)

// Usage counts the tokens of one request.
type Usage struct {
	// PromptTokens counts the prompt.
	PromptTokens int
	// CachedTokens counts those tokens of the prompt that were not computed
	// anew: see Request.CacheScope.
	CachedTokens int
	// GeneratedTokens counts the answer, without the token that ends it.
	GeneratedTokens int
}
