package llama

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/nitroseal/nitroseal/inference"
)

// Options says what to load and how much of the machine to use.
type Options struct {
	// ModelPath is the GGUF file. Exactly one of ModelPath, Model and
	// ModelReader is set.
	ModelPath string
	// Model is the GGUF file's content. On Linux it is copied into sealed
	// memory (memfd) and touches no disk; elsewhere Open refuses it. Open
	// does not keep the slice.
	Model []byte
	// ModelReader gives the GGUF file's content, for models that must touch
	// no disk, such as sealed ones. Open reads it once, to its io.EOF, into
	// sealed memory (Linux only). Any other error that it returns is Open's,
	// and libllama sees nothing of the model. Open does not close it.
	ModelReader io.Reader
	// MaxModelBytes bounds what is read from ModelReader, so that one without
	// an end does not take the machine's memory: more is ErrModelTooLarge. 0
	// means seven eighths of the memory that is available when Open begins
	// (MemAvailable in /proc/meminfo). Where the kernel limits a process to
	// less, as in a container, set it.
	MaxModelBytes int64
	// Repack says whether libllama may keep weights a second time, arranged
	// for the processor.
	Repack Repack
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
	// for all of them is allocated at once: ContextSize tokens each. 0 means
	// 4.
	MaxSequences int
	// CacheSequences says how many more sequences there are that hold
	// beginnings of text for later requests; see
	// inference.Request.CacheScope. Sequences in which no request runs do so
	// anyway, until a request needs them: the one used longest ago comes
	// first. Each takes as much memory as one of MaxSequences. At most 64;
	// negative means that nothing is held or taken over at all.
	CacheSequences int
	// CacheTTL is how long a beginning is held after its last use. 0 means 5
	// minutes. See also Model.Forget.
	CacheTTL time.Duration
	// QueueLimit is how many more requests may wait. 0 means 64, negative
	// means none.
	QueueLimit int
	// MaxNewTokens limits the new tokens of any request, whatever it asks
	// for. 0 means no limit but ContextSize.
	MaxNewTokens int
	// BatchSize is the most tokens in one decode step, between MaxSequences
	// and 4096. A smaller one shortens the steps while prompts are read.
	// 0 means 512, or MaxSequences if that is more.
	BatchSize int
	// PrefillChunk is the most prompt tokens that are computed between two
	// tokens of an answer under way: it bounds how long new prompts hold it
	// up. Larger ones let them begin sooner. 0 means 256.
	PrefillChunk int
	// ChatTemplate says how Messages of a request are put together: the name
	// of one of libllama's formats, such as "chatml" or "llama3", a Jinja text
	// that it recognizes as one of them, or "plain". Open refuses what the
	// library does not know. Empty means the template in the model file, or
	// "plain" if it has none.
	ChatTemplate string
	// Embeddings makes Embed possible, for which a second context is
	// allocated.
	Embeddings bool
	// Logger gets libllama's own messages and errors of the scheduler, never
	// text of requests. libllama has one log for the whole process: the
	// Logger of the model opened last gets it. While another model is open, of
	// libllama's messages only the functions' names are logged, even when a
	// model is being loaded. nil means no log.
	Logger *slog.Logger
	// OnRequest, if not nil, is called at the end of each request, by the
	// goroutine that ranges over Generate, before the loop ends. Requests
	// that are invalid or refused are told too.
	OnRequest func(RequestStats)
}

const defaultContextSize = 2048

// withDefaults returns the options with zero values replaced, ContextSize
// excepted, which depends on the model.
func (o Options) withDefaults() (Options, error) {
	if err := o.checkSource(); err != nil {
		return Options{}, err
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
	if o.PrefillChunk == 0 {
		o.PrefillChunk = 256
	}
	if o.CacheTTL == 0 {
		o.CacheTTL = 5 * time.Minute
	}
	if o.CacheSequences > 64 {
		return Options{}, fmt.Errorf("llama: CacheSequences %d is over 64", o.CacheSequences)
	}
	if o.CacheTTL < 0 || o.MaxNewTokens < 0 || o.PrefillChunk < 0 {
		return Options{}, errors.New("llama: CacheTTL, MaxNewTokens or PrefillChunk is negative")
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
