package inference

// Limits on a Request. They bound what one caller can make a model do before
// its prompt has been read.
const (
	// DefaultMaxTokens is the number of new tokens where a request names none.
	DefaultMaxTokens = 256
	// MaxPromptBytes is the longest prompt.
	MaxPromptBytes = 1 << 20
	// MaxStopStrings is the most stop strings in a request.
	MaxStopStrings = 16
	// MaxStopBytes is the longest stop string.
	MaxStopBytes = 256
)

// Request is what to generate. Its zero value, with a prompt, asks for greedy
// decoding.
type Request struct {
	// Prompt is the text to continue, at most MaxPromptBytes of UTF-8. Text
	// that spells a special token is read as characters. An empty prompt
	// starts from the model's beginning-of-text token.
	Prompt string
	// Messages is a conversation to answer, in place of Prompt: at most
	// MaxMessages, the last of them the user's. Those of the system, if any,
	// come first.
	Messages []Message

	// MaxTokens limits the new tokens; the prompt never counts. 0 means
	// DefaultMaxTokens. The answer also ends, with FinishLength, where the
	// model has no space left.
	MaxTokens int

	// Temperature makes unlikely tokens likelier the higher it is, in [0, 10].
	// 0 means greedy: the fields down to Seed are then not used, but
	// RepeatPenalty is.
	Temperature float32
	// TopK keeps only the K likeliest tokens. 0 means all.
	TopK int
	// TopP keeps the likeliest tokens that together reach this probability,
	// in [0, 1]. 0 means all.
	TopP float32
	// MinP drops tokens below this fraction of the likeliest one's
	// probability, in [0, 1]. 0 means none.
	MinP float32
	// Seed makes sampling repeatable: equal requests with equal seeds draw
	// equally. 0 is a seed like any other.
	Seed uint32

	// RepeatPenalty above 1 makes recently used tokens less likely, in
	// (0, 10]. 0 and 1 mean no penalty.
	RepeatPenalty float32
	// RepeatWindow is how many tokens back RepeatPenalty looks, at most 4096.
	// 0 means 64.
	RepeatWindow int

	// Stop ends the answer before the first of these strings, wherever token
	// borders lie. At most MaxStopStrings, each of 1 to MaxStopBytes bytes.
	Stop []string

	// Grammar is a grammar in llama.cpp's GBNF whose rule "root" the answer
	// must match; see package grammar for the limits. Empty means free text.
	Grammar string
	// JSONSchema is a JSON Schema that the answer must be an instance of; see
	// package grammar for the keywords that are known. At most one of Grammar
	// and JSONSchema is set. An answer cut off by MaxTokens is a beginning of
	// such text.
	JSONSchema string

	// LogProbs asks for the log-probability of each generated token, and
	// TopLogProbs, at most MaxTopLogProbs, for those of the likeliest tokens
	// in its place.
	LogProbs    bool
	TopLogProbs int

	// CacheScope lets requests reuse each other's work: where a request begins
	// like an earlier or a running one of the same scope, the common tokens
	// are not computed again. How soon the first token comes then tells
	// whether somebody asked the like before, so requests that share a scope
	// must belong to parties who may know that of each other: a session, a
	// user. Empty means that nothing of the request is kept or reused, but for
	// PublicPrefix. At most MaxCacheScopeBytes.
	CacheScope string
	// PublicPrefix says how much of the request's beginning is no secret, such
	// as instructions that every request of an application begins with: bytes
	// of Prompt, or how many of the first Messages. All requests may reuse
	// the work on it, whatever their scopes.
	PublicPrefix int
}

// MaxCacheScopeBytes is the longest Request.CacheScope.
const MaxCacheScopeBytes = 256

// MaxGrammarBytes is the longest Request.Grammar and Request.JSONSchema.
const MaxGrammarBytes = 64 << 10

// BlogPreset returns req with the sampling of AWS' blog post on inference in
// Nitro Enclaves: one of the 5 likeliest tokens, 20 tokens at most. Unlike
// there the prompt does not count towards the 20.
func BlogPreset(req Request) Request {
	req.Temperature, req.TopK, req.TopP, req.MinP = 1, 5, 0, 0
	req.MaxTokens = 20
	return req
}
