package llama

// Repack says whether libllama may keep weights a second time, arranged for
// the processor. It depends on both for which types of weights it does so: q4_0
// and the K types on most, also q8_0 on arm64, nearly all where there is AMX.
// Answers are the same up to rounding.
//
// Measured with q4_0 on two cores of an AMD EPYC with AVX-512: prompts are read
// 1.9 times as fast, answers written 1.4 times as fast, and the model takes
// 2.0 times its size.
type Repack int

const (
	// RepackAuto is RepackNever for a ModelReader, else RepackAlways.
	RepackAuto Repack = iota
	// RepackAlways is libllama's own choice: speed before memory.
	RepackAlways
	// RepackNever keeps weights once, as they are in the file.
	RepackNever
)

// inPlace says whether libllama must use the weights where they are.
func (o *Options) inPlace() bool {
	return o.Repack == RepackNever || o.Repack == RepackAuto && o.ModelReader != nil
}
