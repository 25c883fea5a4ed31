package native

import (
	"maps"
	"unsafe"
)

// Handles of C objects.
type (
	// LlamaModel is a struct llama_model *.
	LlamaModel uintptr
	// Context is a struct llama_context *.
	Context uintptr
	// Vocab is a const struct llama_vocab *.
	Vocab uintptr
	// Memory is a llama_memory_t.
	Memory uintptr
	// Sampler is a struct llama_sampler *.
	Sampler uintptr
)

// Batch is struct llama_batch. Its arrays are C memory.
type Batch struct {
	NTokens int32
	_       int32
	Token   *int32
	Embd    *float32
	Pos     *int32
	NSeqID  *int32
	SeqID   **int32
	Logits  *int8
}

// ModelParams is struct llama_model_params, whose members are the same in all
// known versions. Progress and ProgressData are set, and what useInPlace says.
type ModelParams struct {
	Devices, TensorBuftOverrides uintptr
	NGPULayers                   int32
	SplitMode                    int32
	LoadMode, LazyMode, MainGPU  int32
	_                            int32
	TensorSplit                  uintptr
	Progress, ProgressData       uintptr
	KVOverrides                  uintptr
	Bools                        [8]bool
}

// contextParams160 and contextParams168 are struct llama_context_params as
// opaque words, since purego passes what Go's type says.
type (
	contextParams160 struct{ words [20]uint64 }
	contextParams168 struct{ words [21]uint64 }
)

// Candidate is struct llama_token_data.
type Candidate struct {
	ID       int32
	Logit, P float32
}

// Candidates is struct llama_token_data_array. Data is not freed or kept by
// the library; samplers reorder it in place.
type Candidates struct {
	Data     *Candidate
	Size     uintptr
	Selected int64 // index in Data, or -1
	Sorted   bool
}

// chainParams is struct llama_sampler_chain_params.
type chainParams struct{ noPerf bool }

// The structures are passed by value: their sizes are checked by the compiler.
var (
	_ [modelSize]struct{} = [unsafe.Sizeof(ModelParams{})]struct{}{}
	_ [56]struct{}        = [unsafe.Sizeof(Batch{})]struct{}{}
	_ [12]struct{}        = [unsafe.Sizeof(Candidate{})]struct{}{}
	_ [32]struct{}        = [unsafe.Sizeof(Candidates{})]struct{}{}
)

// Lib is a loaded library. It is never unloaded: its threads and registered
// backends cannot be taken back. The functions are llama.h's, without the
// llama_ prefix.
type Lib struct {
	// Path and Version identify the library.
	Path, Version string

	layout          layout
	contextDefaults [probeSize]byte

	chatFunctions
	embedFunctions

	backendInit   func()
	modelDefaults func() ModelParams
	modelLoad     func(path string, params ModelParams) LlamaModel
	initContext   func(m LlamaModel, params []byte) Context
	chainInit     func(chainParams) Sampler
	logSet        func(callback, data uintptr)
	ggmlLogSet    func(callback, data uintptr)
	setAbort      func(c Context, callback, data uintptr)
	strlen        uintptr
	loadBackends  func(dir string)
	deviceCount   func() uintptr
	metaValue     func(m LlamaModel, key string, buf *byte, size uintptr) int32

	ModelFree         func(LlamaModel)
	ModelVocab        func(LlamaModel) Vocab
	ModelContextTrain func(LlamaModel) int32
	ModelParameters   func(LlamaModel) uint64
	ModelHasDecoder   func(LlamaModel) bool
	ModelHasEncoder   func(LlamaModel) bool
	ModelIsRecurrent  func(LlamaModel) bool
	ModelIsHybrid     func(LlamaModel) bool
	ModelWindow       func(LlamaModel) int32

	ContextFree    func(Context)
	ContextSeqSize func(Context) uint32
	ContextBatch   func(Context) uint32
	ContextMemory  func(Context) Memory
	SetThreads     func(c Context, generate, batch int32)
	Decode         func(Context, Batch) int32
	LogitsAt       func(c Context, i int32) *float32
	BatchInit      func(tokens, embd, seqs int32) Batch
	BatchFree      func(Batch)
	MemoryClear    func(m Memory, data bool)
	MemorySeqRm    func(m Memory, seq, from, to int32) bool
	MemorySeqCp    func(m Memory, seq, to, fromPos, toPos int32)

	VocabTokens  func(Vocab) int32
	VocabType    func(Vocab) int32
	VocabBOS     func(Vocab) int32
	VocabIsEOG   func(Vocab, int32) bool
	Tokenize     func(v Vocab, text *byte, n int32, out *int32, size int32, addSpecial, parseSpecial bool) int32
	TokenToPiece func(v Vocab, token int32, buf *byte, size, lstrip int32, special bool) int32

	SamplerGreedy    func() Sampler
	SamplerDist      func(seed uint32) Sampler
	SamplerTopK      func(k int32) Sampler
	SamplerTopP      func(p float32, minKeep uintptr) Sampler
	SamplerMinP      func(p float32, minKeep uintptr) Sampler
	SamplerTemp      func(t float32) Sampler
	SamplerPenalties func(lastN int32, repeat, frequency, presence float32) Sampler
	SamplerAdd       func(chain, s Sampler)
	SamplerApply     func(s Sampler, c *Candidates)
	SamplerAccept    func(s Sampler, token int32)
	SamplerSample    func(s Sampler, c Context, i int32) int32
	SamplerFree      func(Sampler)
}

// symbols maps the C names to the functions they fill. All must exist.
func (l *Lib) symbols() map[string]any {
	all := map[string]any{
		"llama_backend_init":              &l.backendInit,
		"llama_model_default_params":      &l.modelDefaults,
		"llama_model_load_from_file":      &l.modelLoad,
		"llama_sampler_chain_init":        &l.chainInit,
		"llama_log_set":                   &l.logSet,
		"ggml_log_set":                    &l.ggmlLogSet,
		"ggml_backend_load_all_from_path": &l.loadBackends,
		"ggml_backend_dev_count":          &l.deviceCount,
		"llama_model_meta_val_str":        &l.metaValue,
		"llama_model_free":                &l.ModelFree,
		"llama_model_get_vocab":           &l.ModelVocab,
		"llama_model_n_ctx_train":         &l.ModelContextTrain,
		"llama_model_n_params":            &l.ModelParameters,
		"llama_model_has_decoder":         &l.ModelHasDecoder,
		"llama_model_has_encoder":         &l.ModelHasEncoder,
		"llama_model_is_recurrent":        &l.ModelIsRecurrent,
		"llama_model_is_hybrid":           &l.ModelIsHybrid,
		"llama_model_n_swa":               &l.ModelWindow,
		"llama_set_abort_callback":        &l.setAbort,
		"llama_free":                      &l.ContextFree,
		"llama_n_ctx_seq":                 &l.ContextSeqSize,
		"llama_n_batch":                   &l.ContextBatch,
		"llama_get_memory":                &l.ContextMemory,
		"llama_set_n_threads":             &l.SetThreads,
		"llama_decode":                    &l.Decode,
		"llama_get_logits_ith":            &l.LogitsAt,
		"llama_batch_init":                &l.BatchInit,
		"llama_batch_free":                &l.BatchFree,
		"llama_memory_clear":              &l.MemoryClear,
		"llama_memory_seq_rm":             &l.MemorySeqRm,
		"llama_memory_seq_cp":             &l.MemorySeqCp,
		"llama_vocab_n_tokens":            &l.VocabTokens,
		"llama_vocab_type":                &l.VocabType,
		"llama_vocab_bos":                 &l.VocabBOS,
		"llama_vocab_is_eog":              &l.VocabIsEOG,
		"llama_tokenize":                  &l.Tokenize,
		"llama_token_to_piece":            &l.TokenToPiece,
		"llama_sampler_init_greedy":       &l.SamplerGreedy,
		"llama_sampler_init_dist":         &l.SamplerDist,
		"llama_sampler_init_top_k":        &l.SamplerTopK,
		"llama_sampler_init_top_p":        &l.SamplerTopP,
		"llama_sampler_init_min_p":        &l.SamplerMinP,
		"llama_sampler_init_temp":         &l.SamplerTemp,
		"llama_sampler_init_penalties":    &l.SamplerPenalties,
		"llama_sampler_chain_add":         &l.SamplerAdd,
		"llama_sampler_apply":             &l.SamplerApply,
		"llama_sampler_accept":            &l.SamplerAccept,
		"llama_sampler_sample":            &l.SamplerSample,
		"llama_sampler_free":              &l.SamplerFree,
	}
	maps.Copy(all, l.chatFunctions.symbols())
	maps.Copy(all, l.embedFunctions.symbols())
	return all
}

// NewChain returns an empty sampler chain; it frees what is added to it.
func (l *Lib) NewChain() Sampler { return l.chainInit(chainParams{noPerf: true}) }

// Meta returns a metadata string of the model, or "".
func (l *Lib) Meta(m LlamaModel, key string) string {
	var buf [256]byte
	n := l.metaValue(m, key, &buf[0], uintptr(len(buf)))
	if n < 0 {
		return ""
	}
	return string(buf[:min(int(n), len(buf)-1)])
}
