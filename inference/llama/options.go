package llama

import (
	"fmt"
	"log/slog"
	"runtime"

	"github.com/nitroseal/nitroseal/inference"
)

// Options says what to load and how much of the machine to use.
type Options struct {
	// ModelPath is the GGUF file. Exactly one of ModelPath and Model is set.
	ModelPath string
	// Model is the GGUF file's content. On Linux it is copied into sealed
	// memory (memfd) and touches no disk; elsewhere Open refuses it. Open
	// does not keep the slice.
	Model []byte
	// Digest is the expected SHA-256 or SHA-384 of the file in hexadecimal.
	// Open reads the file once, into sealed memory on Linux, and libllama
	// reads what was hashed. Elsewhere the file is hashed before it is
	// loaded, so whoever may write to it could exchange it in between.
	// Empty means that any model is accepted; Info still reports the digest.
	Digest string
	// LibraryDir is the folder of the library. Empty means the search of
	// libllama.Find.
	LibraryDir string
	// Threads is the number of threads that compute. 0 means one per CPU.
	Threads int
	// ContextSize is the number of tokens that prompt and answer of one
	// request may have together; it is rounded up to a multiple of 256.
	// 0 means what the model was trained for, but at most 2048.
	ContextSize int
	// MaxSequences is how many requests run side by side, at most 64. Memory
	// for all of them is allocated at once. 0 means 4.
	MaxSequences int
	// QueueLimit is how many more requests may wait. 0 means 64, negative
	// means none.
	QueueLimit int
	// BatchSize is the most tokens in one decode step, between MaxSequences
	// and 4096. A smaller one shortens the steps while prompts are read.
	// 0 means 512, or MaxSequences if that is more.
	BatchSize int
	// Logger gets libllama's own messages and errors of the scheduler, never
	// text of requests. libllama has one log for the whole process: the
	// Logger of the model opened last gets it. nil means no log.
	Logger *slog.Logger
}

const defaultContextSize = 2048

// withDefaults returns the options with zero values replaced, ContextSize
// excepted, which depends on the model.
func (o Options) withDefaults() (Options, error) {
	if (o.ModelPath == "") == (o.Model == nil) {
		return Options{}, fmt.Errorf("llama: set exactly one of ModelPath and Model")
	}
	if o.Threads == 0 {
		o.Threads = runtime.NumCPU()
	}
	if o.MaxSequences == 0 {
		o.MaxSequences = 4
	}
	if o.QueueLimit == 0 {
		o.QueueLimit = 64
	}
	o.QueueLimit = max(o.QueueLimit, 0)
	if o.BatchSize == 0 {
		o.BatchSize = 512
	}
	if o.Threads < 0 || o.Threads > 1024 {
		return Options{}, fmt.Errorf("llama: Threads %d is not in 1 to 1024", o.Threads)
	}
	if o.MaxSequences < 0 || o.MaxSequences > 64 {
		return Options{}, fmt.Errorf("llama: MaxSequences %d is not in 1 to 64", o.MaxSequences)
	}
	if o.BatchSize < o.MaxSequences || o.BatchSize > 4096 {
		return Options{}, fmt.Errorf("llama: BatchSize %d is not in %d to 4096", o.BatchSize, o.MaxSequences)
	}
	if o.ContextSize < 0 || o.ContextSize > 1<<20 {
		return Options{}, fmt.Errorf("llama: ContextSize %d is not in 0 to %d", o.ContextSize, 1<<20)
	}
	return o, nil
}

var _ inference.Model = (*Model)(nil)
