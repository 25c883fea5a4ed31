package native

import (
	"bytes"
	"encoding/binary"
	"fmt"
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
var minorLayouts = map[int]layout{
	4: layoutV4, 5: layoutV4, 6: layoutV4,
	7: layoutV7, 8: layoutV7, 9: layoutV7,
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
)

// Offsets in struct llama_context_params, equal in all known layouts.
const (
	ctxN         = 0
	ctxBatch     = 4
	ctxUBatch    = 8
	ctxSeqMax    = 12
	ctxOutputMax = 20
)

// defaultBools are embeddings, offload_kqv, no_perf, op_offload, swa_full and
// kv_unified as every known version initializes them.
var defaultBools = []byte{0, 1, 1, 1, 1, 0}

// defaultHead are the leading members of llama_context_params by default:
// n_ctx, n_batch, n_ubatch, n_seq_max, n_rs_seq, n_outputs_max. They are the
// ones that this package sets.
var defaultHead = [...]uint32{512, 2048, 512, 1, 0, 0}

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
	major, rest, ok := strings.Cut(version, ".")
	minor, _, ok2 := strings.Cut(rest, ".")
	n, err := strconv.Atoi(minor)
	if !ok || !ok2 || major != "0" || err != nil {
		return layout{}, false
	}
	l, ok := minorLayouts[n]
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

// checkContext compares the default llama_context_params with the layout.
func (l layout) checkContext(p *probe) error {
	if got := p.extent(); got != l.contextSize {
		return fmt.Errorf("llama_context_params has %d bytes, not %d", got, l.contextSize)
	}
	if got := p.a[l.boolOffset : l.boolOffset+len(defaultBools)]; !bytes.Equal(got, defaultBools) {
		return fmt.Errorf("llama_context_params has % x at offset %d, not % x", got, l.boolOffset, defaultBools)
	}
	for i, want := range defaultHead {
		if got := binary.NativeEndian.Uint32(p.a[4*i:]); got != want {
			return fmt.Errorf("llama_context_params has %d at offset %d, not %d", got, 4*i, want)
		}
	}
	return nil
}

// checkModel compares the default llama_model_params with the layout.
func checkModel(p *probe) error {
	if got := p.extent(); got < modelTail || got > modelSize {
		return fmt.Errorf("llama_model_params has %d bytes, not %d", got, modelSize)
	}
	return nil
}
