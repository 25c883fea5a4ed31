package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A layout is how a range of libllama versions arranges its parameter
// structures. llama.h has no version of its own and its structures grow in
// place, so a wrong guess would make the library read pointers from the wrong
// bytes.
type layout struct {
	contextSize int // sizeof(struct llama_context_params)
	boolOffset  int // offset of its first bool, "embeddings"
}

var (
	// layoutV4 is that of 0.4 to 0.6.
	layoutV4 = layout{contextSize: 160, boolOffset: 128}
	// layoutV7 is that of 0.7 to 0.9: size_t moe_cache_size came in at 112.
	layoutV7 = layout{contextSize: 168, boolOffset: 136}
)

// minorLayouts has the layout of each known version 0.x.
var minorLayouts = map[string]layout{
	"4": layoutV4, "5": layoutV4, "6": layoutV4,
	"7": layoutV7, "8": layoutV7, "9": layoutV7,
}

// KnownVersions names the versions that Load accepts.
const KnownVersions = "0.4 to 0.9"

const (
	modelSize = 80 // sizeof(struct llama_model_params) in all of them
	// modelTail is the end of its last member; the compiler need not write
	// the padding behind it.
	modelTail = 78
	// probeSize is the buffer the library's default parameters are read
	// into: far more than any version needs, so that a larger structure is
	// noticed and not a memory error.
	probeSize = 512
	// fillA and fillB are what the buffer holds before the first and the
	// second call.
	fillA, fillB = 0xaa, 0x55
	// maxVersion is the longest version that is read.
	maxVersion = 64
)

// Offsets in struct llama_context_params, equal in all known layouts.
const (
	ctxN         = 0
	ctxBatch     = 4
	ctxUBatch    = 8
	ctxSeqMax    = 12
	ctxOutputMax = 20
	ctxEnums     = 36 // the first of defaultEnums
	ctxPooling   = 44
)

// Offsets in struct llama_model_params.
const (
	modelLayers  = 16 // n_gpu_layers
	modelPadding = 36 // 4 bytes behind main_gpu
)

// modelPointers are devices, tensor_buft_overrides, tensor_split,
// progress_callback, its user data and kv_overrides.
var modelPointers = [...]int{0, 8, 40, 48, 56, 64}

// defaultBools are embeddings, offload_kqv, no_perf, op_offload, swa_full and
// kv_unified as every known version initializes them.
var defaultBools = []byte{0, 1, 1, 1, 1, 0}

// defaultHead are the leading members of llama_context_params by default:
// n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max. They are the
// ones that this package sets.
var defaultHead = [...]uint32{512, 2048, 512, 1, 0, 0}

// defaultEnums are ctx_type, rope_scaling_type, pooling_type, attention_type
// and flash_attn_type by default: none, and four times "unspecified". A member
// that came in before them, or went, would move the row.
var defaultEnums = [...]int32{0, -1, -1, -1, -1}

// An ABIError says why a library was refused.
type ABIError struct {
	Path    string // the library
	Version string // what it calls itself, or empty
	Reason  string
}

func (e *ABIError) Error() string {
	version := "of unknown version"
	if e.Version != "" {
		version = "version " + strconv.Quote(e.Version)
	}
	return fmt.Sprintf("llama: library %s (%s) refused: %s; known versions: %s", e.Path, version, e.Reason, KnownVersions)
}

// layoutOf returns the layout of the version that llama_version names, such as
// "0.7.0" or "0.5.0-dev".
func layoutOf(version string) (layout, bool) {
	release, _, _ := strings.Cut(version, "-")
	parts := strings.Split(release, ".")
	if len(parts) != 3 || parts[0] != "0" {
		return layout{}, false
	}
	if _, err := strconv.ParseUint(parts[2], 10, 32); err != nil {
		return layout{}, false
	}
	l, ok := minorLayouts[parts[1]]
	return l, ok
}

// A probe is a default-parameters function's result, read twice into buffers
// with different fillings.
type probe struct{ a, b [probeSize]byte }

// extent returns the end of the last byte that was written both times.
func (p *probe) extent() int {
	n := probeSize
	for n > 0 && p.a[n-1] != p.b[n-1] {
		n--
	}
	return n
}

// unsteady returns the offset of the first byte before n that was not the
// same after both calls, or -1. It does not look at padding, which is given as
// first offset and the offset after the last.
func (p *probe) unsteady(n int, padding ...[2]int) int {
	for i := range n {
		if p.a[i] != p.b[i] && !slices.ContainsFunc(padding, func(r [2]int) bool { return r[0] <= i && i < r[1] }) {
			return i
		}
	}
	return -1
}

// checkContext compares the default llama_context_params with the layout.
func (l layout) checkContext(p *probe) error {
	if got := p.extent(); got != l.contextSize {
		return fmt.Errorf("llama_context_params has %d bytes, not %d", got, l.contextSize)
	}
	bools := l.boolOffset + len(defaultBools)
	if at := p.unsteady(l.contextSize, [2]int{bools, bools + 2}); at >= 0 {
		return fmt.Errorf("llama_context_params differs from call to call at offset %d", at)
	}
	if got := p.a[l.boolOffset : l.boolOffset+len(defaultBools)]; !bytes.Equal(got, defaultBools) {
		return fmt.Errorf("llama_context_params has % x at offset %d, not % x", got, l.boolOffset, defaultBools)
	}
	for i, want := range defaultHead {
		if got := binary.NativeEndian.Uint32(p.a[4*i:]); got != want {
			return fmt.Errorf("llama_context_params has %d at offset %d, not %d", got, 4*i, want)
		}
	}
	for i, want := range defaultEnums {
		offset := ctxEnums + 4*i
		if got := int32(binary.NativeEndian.Uint32(p.a[offset:])); got != want {
			return fmt.Errorf("llama_context_params has %d at offset %d, not %d", got, offset, want)
		}
	}
	return nil
}

// checkModel compares the default llama_model_params with the layout. Its
// pointers must be null, for two of them are set, and n_gpu_layers, between
// them, must not be 0: it is -1 by default.
func checkModel(p *probe) error {
	if got := p.extent(); got < modelTail || got > modelSize {
		return fmt.Errorf("llama_model_params has %d bytes, not %d", got, modelSize)
	}
	if at := p.unsteady(modelSize, [2]int{modelPadding, modelPadding + 4}, [2]int{modelTail, modelSize}); at >= 0 {
		return fmt.Errorf("llama_model_params differs from call to call at offset %d", at)
	}
	for _, at := range modelPointers {
		if got := binary.NativeEndian.Uint64(p.a[at:]); got != 0 {
			return fmt.Errorf("llama_model_params has %#x at offset %d, not a null pointer", got, at)
		}
	}
	if binary.NativeEndian.Uint32(p.a[modelLayers:]) == 0 {
		return fmt.Errorf("llama_model_params has 0 at offset %d, not a number of layers", modelLayers)
	}
	return nil
}
