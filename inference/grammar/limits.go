package grammar

// Limits on a grammar and on a schema. With them, parsing takes half a second of
// processor time at worst and a few milliseconds mostly, and libllama reads the
// canonical text in some ten milliseconds at worst.
const (
	// MaxBytes is the longest grammar or schema.
	MaxBytes = 64 << 10
	// MaxRules is the most rules of a grammar, and the most subschemas of a
	// schema.
	MaxRules = 2048
	// MaxDepth is how deep parentheses in a grammar, groups in a pattern and
	// values in a schema may nest, and how many rules may be entered for one
	// character.
	MaxDepth = 64
	// MaxRepeat is the largest number in a repetition such as x{2,9}, and of
	// a schema's minLength, maxLength, minItems and maxItems.
	MaxRepeat = 1999
	// MaxElements is the most elements that a grammar may have once its
	// repetitions are written out and the rules that need it are copied into
	// their place.
	MaxElements = 1 << 16
	// MaxStates is the most places that an answer can be at, which is about
	// the number of rules in the canonical text.
	MaxStates = 1 << 14
	// MaxText is about the longest canonical text.
	MaxText = 256 << 10
	// MaxChoices is the most ranges of characters among which the next one of
	// an answer is chosen. Each of them is compared with each token of the
	// model's vocabulary for each token of the answer.
	MaxChoices = 512

	// maxWork bounds the steps of making a grammar deterministic, which can
	// take exponentially many.
	maxWork = 1 << 20
	// maxSchemaWork bounds the steps of combining schemas, of which there can
	// be exponentially many as well.
	maxSchemaWork = 1 << 18
)
