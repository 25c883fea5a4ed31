// Package llama runs GGUF models with libllama, the library of llama.cpp. It
// is loaded at run time: programs need no C compiler and no cgo.
//
//	m, err := llama.Open(ctx, llama.Options{ModelPath: "model.gguf", Digest: digest})
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//
// Get the library once with
//
//	go run github.com/nitroseal/nitroseal/inference/llama/install
//
// and name its folder in Options.LibraryDir, or in the environment variable
// NITROSEAL_LIBLLAMA_DIR, or leave it where install puts it.
//
// # Requests side by side
//
// One goroutine owns libllama's context. In each step it decodes one batch:
// the next token of every running request, or what fits of the prompts of new
// ones, the oldest first. So requests share the work of reading the weights,
// and long prompts do not stall answers that are under way: there are at most
// Options.PrefillChunk tokens of prompts between two tokens of an answer. A
// prompt is not begun beside another if that would make both wait: the first
// answer begins as soon as if it were alone.
//
// Options.MaxSequences requests run, Options.QueueLimit wait, and more are
// refused with inference.ErrOverloaded. They run in the order in which they
// came. Each has the memory for all that it may generate, so none fails half way
// for lack of it. A request that is
// given up leaves at the end of the step under way, which ends at once if
// nobody else is in it. Model.Stats and Options.OnRequest tell what goes on.
//
// # Processors
//
// libllama's threads wait for each other in loops thousands of times a second,
// so anything else that runs on their processors makes all of them slower. By
// default Options.Threads is one per CPU; on a machine that does more than this,
// leave some free. Go's own runtime counts, too: it looks several dozen times
// after a call that takes as long as a step. In a program that does little beside
// inference, the environment variable GOMAXPROCS=1 prevents that; on two
// processors it made one sequence 7 % faster.
//
// # Reusing work
//
// Requests of one inference.Request.CacheScope take over from each other what
// has been computed of the text that they begin with: the next turn of a
// conversation computes only what is new, and requests that begin alike at the
// same time compute the beginning once. PublicPrefix does this for text that
// is no secret, between all requests. What is kept lies in sequences in which no
// request runs, gives way to requests that need one, and goes after
// Options.CacheTTL or with Model.Forget; Options.CacheSequences makes room for
// more. Models with a sliding window or a recurrent state reuse nothing. How soon an
// answer begins tells whether its beginning was known, which is why nothing is
// shared unless it is asked for.
//
// # Keeping requests apart
//
// Each running request has a sequence of its own in the key-value cache, with
// memory of its own. When it ends, for whatever reason, its cells are removed
// before the sequence is given to another request, unless they are kept for its
// scope. A second after the last request, or at once with Model.Forget, if
// nothing is kept, the whole cache is overwritten with zeros; under load that
// never ends, removed cells are only overwritten as they are used again. Logits
// are overwritten once a token has been sampled. The library's scratch memory
// for a step holds what the last step computed until the next one.
//
// Text is never logged, and never part of an error.
//
// # Conversations
//
// Request.Messages are put together by the chat template in the model file, as
// far as libllama has it built in: it recognizes some fifty by their text and
// runs no Jinja. Options.ChatTemplate names another one. What a template has no
// place for, such as messages of the system in some, is refused as
// inference.ErrInvalidRequest, and so is every conversation if libllama does
// not know the template.
//
// Contents never meet the template. It lays out random placeholders; then its
// own text is tokenized with its markers as special tokens, and each content by
// itself as the characters it has. So no content can end a turn or begin one by
// spelling a marker: not with what libllama calls control tokens, nor with the
// user-defined ones, which it finds in any text and which gpt-oss and others
// have as markers. The same is true of Request.Prompt. Some templates mark turns
// with words alone ("USER:" in vicuna): of these a content can write the like,
// and only the model's training tells the one from the other.
//
// That is so for all turns of models without a template, such as BLOOM. They get
// the plain format:
//
//	<content of the system>
//	Question: <content of the user>
//	Answer: <content of the assistant>
//	Question: <content of the user>
//	Answer:
//
// There are no special tokens in it, so it cannot keep turns apart: a user can
// write what looks like an answer of the assistant. As a hint to the model, a
// space is put before each line of a content that begins with "Question:" or
// "Answer:" in any case, so that only real turns begin a line; do not rely on
// it. A base model that was not trained to stop goes on with a question of its
// own: Request.Stop with "\nQuestion:" ends that.
//
// # Embeddings
//
// With Options.Embeddings, Model.Embed turns texts into vectors, in a context of
// its own that is cleared after each text. Its buffers grow with BatchSize times
// the size of the vocabulary. Vectors of a model that was made to answer, not
// to compare, are a rough measure. A vector tells much of its text: it is as
// secret as that.
//
// # Sealed models
//
// Options.ModelReader takes a model from whatever decrypts it, such as the
// Reader of package envelope, into memory that is then sealed (memfd with all
// seals) and mapped by libllama; see the example Open (Sealed). Nothing is
// written to a disk. libllama sees no byte until the reader has returned io.EOF
// and Digest is met: an error of the reader, such as envelope.ErrStream for a
// stream that was changed or cut short, is Open's error.
//
// At its peak, loading takes the model's size and about 35 MiB for the whole
// process, measured with a model of 266 MiB: weights are in memory once, unless
// Options.Repack asks for more. Not counted in these are libllama's tables of
// the vocabulary, about a third of a KiB for each token with its merge (80 MiB
// for the 250,880 tokens of BLOOM), and the key-value cache and the buffers of
// the context, which depend on ContextSize, MaxSequences and BatchSize. What the
// reader itself keeps is on top: an envelope.Reader has twice its Workers and
// two segments of 1 MiB; and so is the sealed file, if it lies in a file system
// in memory, as that of an enclave does. Stream it from the parent instead.
//
// The memory is not locked (mlock): enclaves have no swap. A machine that has
// may write it there.
//
// Sealing keeps a model secret; it does not say who made it, for everyone who
// may encrypt under the KMS key can seal one. Digest does.
//
// # The library is native code
//
// libllama parses the model file and has the whole process in its hands. Load
// only models whose digest you know (Options.Digest), and only libraries that
// you trust. Before the first call that passes a structure, Open checks that
// the library's structures have one of the layouts known here, and refuses it
// otherwise with an ABIError. It cannot detect a malicious library.
package llama
