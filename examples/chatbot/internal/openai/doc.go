// Package openai lets programs that speak OpenAI's HTTP API ask an enclave: it
// is a server for the user's own machine, in front of an ask.Asker. Whatever is
// asked is encrypted in this process, for an enclave that it has verified.
// Between the program and this server it travels in clear, so the server must
// listen on a loopback address: see [Guard] for what is refused there.
//
//	handler := openai.NewHandler(openai.Options{Asker: asker})
//
// # What is compatible
//
//   - GET /v1/models and /v1/models/{id}.
//   - POST /v1/chat/completions with messages of system, developer (the same
//     as system), user and assistant, as text or lists of text parts, which are
//     joined by line ends; logprobs and top_logprobs; response_format text,
//     json_object and json_schema. White space that an answer begins with is
//     left out; a receipt is over the answer with it.
//   - POST /v1/completions with one prompt of text; logprobs from 0 to 20.
//     text_offset counts characters from the beginning of the answer.
//   - Both with model, max_tokens (or max_completion_tokens, in a chat),
//     temperature, top_p, seed, stop with up to 16 strings, stream, and
//     stream_options.include_usage. usage has
//     prompt_tokens_details.cached_tokens.
//   - The shape of errors, the classes that client libraries make of them, and
//     the headers Retry-After, X-Request-Id and X-Should-Retry. A failure in
//     the middle of a stream is an error event, after which nothing comes: no
//     finish_reason, no [DONE].
//
// Extensions, in both: top_k, min_p, repetition_penalty, grammar (in GBNF), and
// "nitroseal": {"receipt": true}, for which nitroseal.receipt is, in base64, a
// proof for others of who answered what. In a stream it is in the chunk with
// the finish_reason.
//
// # What is different
//
//   - Without a temperature the likeliest token is taken, where OpenAI's
//     default is 1: see Options.Temperature.
//   - Without max_tokens a chat gets as many as the enclave gives by default,
//     which is not all that its context has space for.
//   - seed is in 0 to 4294967295, and answers with the same seed are the same.
//   - system messages come first and the last message is the user's.
//   - JSON Schemas are those that package inference/grammar knows, and are kept
//     to whatever strict says. json_object needs no mention of JSON in the
//     messages.
//   - model must be the one that /v1/models lists.
//   - JSON that has a name twice, an unknown field, or text with half a
//     character (an unpaired surrogate) is refused.
//
// # What is not there
//
// Whatever would change the answer and cannot be done is refused with an error
// that names it: tools and functions, audio, images and files, n or best_of
// over 1, logit_bias, penalties of presence and frequency, echo, suffix, prompts
// of tokens, moderation, prediction, reasoning_effort, verbosity, web search,
// names of participants, and storing. Ignored is what would not change it:
// user, safety_identifier, metadata, service_tier, parallel_tool_calls, and the
// hints on caching that begin with prompt_cache. There are no other endpoints.
//
// # What this package does not protect from
//
// Any program of this machine can connect to a loopback address, other users'
// too: set Options.Token where that matters. The system_fingerprint is made from
// the enclave's PCR0 and the digest of its model, and tells that one of them
// changed; it is a hint by this server, not a proof to anybody else. That is
// what receipts are for.
package openai
