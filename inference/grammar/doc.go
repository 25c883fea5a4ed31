// Package grammar says what a model's answer must look like: it checks
// grammars in llama.cpp's GBNF, and makes grammars from JSON Schemas.
//
//	g, err := grammar.FromJSONSchema([]byte(`{
//		"type": "object",
//		"properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
//		"required": ["city", "degrees"]
//	}`))
//
// [Grammar.String] is the text for libllama, [Grammar.Match] checks an answer,
// and [State] follows one while it comes. All are made from one automaton, which
// is what was checked; the text of a user never reaches native code.
//
// # Why not pass the text on
//
// Whoever sends a grammar to libllama has it read by a parser that recurses,
// writes repetitions out, and looks for left recursion in exponential time; and
// has it followed, for each token, along each way the text so far can be
// understood, of which there can be exponentially many. So a few bytes can
// crash a server or keep it busy for good.
//
// Here a grammar is made deterministic first: after each character there is
// one way to go on, so libllama follows one. What is regular, which is all that
// does not nest, always can be, up to the limits of this package; so ("a"*)*
// and (x | x | x) are harmless. What nests must be such that the next character
// says which rule to take, as in JSON and in arithmetic. Refused are, for
// instance, palindromes, and in a language with nested statements an "else"
// where a name may come as well, since both can begin with an e. Left recursion
// is refused too.
//
// An answer never gets stuck: from all that a grammar lets through, there is a
// way to the end.
//
// # GBNF
//
// All of GBNF is known but for tokens, as in <think>: literals, sets of
// characters, the dot, groups, and the quantifiers *, +, ?, {m}, {m,} and
// {m,n}. The rule root is the whole answer.
//
// # JSON Schema
//
// Known are type, enum, const, properties, required, additionalProperties,
// items, prefixItems, minItems, maxItems, minLength, maxLength, pattern, format
// (date, time, date-time, uuid, ipv4), minimum, maximum, exclusiveMinimum,
// exclusiveMaximum, anyOf, oneOf, allOf, and $ref within the schema, also to
// itself. Annotations such as title are ignored; any other keyword is an error.
// An answer is always an instance of the schema, but not every instance is a
// possible answer:
//
//   - Members come in the order of properties. Without additionalProperties, an
//     object with properties has no others.
//   - One space may follow a colon or a comma. There are no other blanks.
//   - Integers have at most 18 digits, numbers 18 before and 15 after the point
//     and two in the exponent. A number with bounds, which must be whole, has
//     no exponent.
//   - Strings hold no NUL, no escaped surrogates, and with pattern or format
//     only escapes that are needed. Names that additionalProperties allows have
//     no escapes.
//   - The schema of keywords of one type only is of that type.
//   - oneOf needs branches that differ in type, constants, or constants of a
//     required property; allOf needs parts that can be put together.
//
// # What this package does not protect from
//
// A grammar limits the form of an answer, not its truth, nor its length: "a"*
// and any JSON array can go on until the answer is cut off, and then it is only
// the beginning of a match. Numbers that are equal can be written in different
// ways, and a name twice in an object where additionalProperties allows it.
package grammar
