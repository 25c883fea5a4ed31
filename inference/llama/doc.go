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
// the next token of every running request, and what fits of the prompts of new
// ones. So requests share the work of reading the weights, a long prompt does
// not stall answers that are under way, and cancellation takes at most a step.
// Options.MaxSequences requests run, Options.QueueLimit wait, and more are
// refused with inference.ErrOverloaded.
//
// # Keeping requests apart
//
// Each running request has a sequence of its own in the key-value cache, which
// the attention mask confines it to. When it ends, for whatever reason, its
// cells are removed before the sequence is given to another request. Text
// is never logged, and never part of an error. Text of a request is tokenized
// without special tokens, so it cannot end a turn or open one.
//
// # The library is native code
//
// libllama parses the model file and has the whole process in its hands. Load
// only models whose digest you know (Options.Digest), and only libraries that
// you trust. Before the first call that passes a structure, Open checks that
// the library's structures have one of the layouts known here, and refuses it
// otherwise: see package libllama. It cannot detect a malicious library.
package llama
