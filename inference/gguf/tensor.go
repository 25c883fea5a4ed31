package gguf

import (
	"fmt"
	"math"
	"math/bits"
)

// TensorType is the number of a tensor's type in the file: how weights are
// stored. Its zero value is F32.
type TensorType uint32

// The types that Convert writes. Read knows all of ggml's current types.
const (
	// F32 is IEEE 754 single precision: 4 bytes a weight.
	F32 TensorType = 0
	// F16 is IEEE 754 half precision: 2 bytes a weight.
	F16 TensorType = 1
	// Q8_0 is blocks of 32 weights in 34 bytes: a scale in half precision,
	// then 32 signed bytes to be multiplied with it.
	Q8_0 TensorType = 8
)

// layout says how many weights a block of a type has, and how many bytes.
type layout struct {
	name           string
	weights, bytes uint64
}

// layouts are ggml's types, by number, with the sizes of its block structures.
// Numbers that are missing have been withdrawn.
var layouts = map[TensorType]layout{
	F32: {"f32", 1, 4}, F16: {"f16", 1, 2}, 30: {"bf16", 1, 2}, 28: {"f64", 1, 8},
	24: {"i8", 1, 1}, 25: {"i16", 1, 2}, 26: {"i32", 1, 4}, 27: {"i64", 1, 8},
	2: {"q4_0", 32, 18}, 3: {"q4_1", 32, 20}, 6: {"q5_0", 32, 22}, 7: {"q5_1", 32, 24},
	Q8_0: {"q8_0", 32, 34}, 9: {"q8_1", 32, 36},
	10: {"q2_K", 256, 84}, 11: {"q3_K", 256, 110}, 12: {"q4_K", 256, 144},
	13: {"q5_K", 256, 176}, 14: {"q6_K", 256, 210}, 15: {"q8_K", 256, 292},
	16: {"iq2_xxs", 256, 66}, 17: {"iq2_xs", 256, 74}, 18: {"iq3_xxs", 256, 98},
	19: {"iq1_s", 256, 50}, 20: {"iq4_nl", 32, 18}, 21: {"iq3_s", 256, 110},
	22: {"iq2_s", 256, 82}, 23: {"iq4_xs", 256, 136}, 29: {"iq1_m", 256, 56},
	34: {"tq1_0", 256, 54}, 35: {"tq2_0", 256, 66}, 39: {"mxfp4", 32, 17},
}

// String returns ggml's name of the type, as in "q8_0".
func (t TensorType) String() string {
	if l, ok := layouts[t]; ok {
		return l.name
	}
	return fmt.Sprintf("TensorType(%d)", uint32(t))
}

// Tensor describes one tensor of a file.
type Tensor struct {
	// Name is at most 64 bytes long and unique in its file.
	Name string
	// Type says how the weights are stored.
	Type TensorType
	// Dims are 1 to 4 dimensions, none of them 0. The first is the length of
	// a row, whose weights lie side by side: PyTorch writes it last.
	Dims []uint64
	// Offset is where the tensor's bytes begin, from the start of the file.
	// Write ignores it.
	Offset int64
	// Size is the number of those bytes. Write ignores it.
	Size int64
}

// Elements returns the number of weights, or 0 if they cannot be counted.
func (t Tensor) Elements() uint64 {
	n := uint64(1)
	for _, d := range t.Dims {
		hi, lo := bits.Mul64(n, d)
		if hi != 0 {
			return 0
		}
		n = lo
	}
	return n
}

// size checks name, dimensions and type and returns the number of bytes.
func (t Tensor) size() (int64, error) {
	where := "tensor " + quote(t.Name)
	if t.Name == "" {
		return 0, malformed("", "a tensor without a name")
	}
	if len(t.Dims) < 1 || len(t.Dims) > maxDims {
		return 0, malformed(where, "%d dimensions, not 1 to %d", len(t.Dims), maxDims)
	}
	l, ok := layouts[t.Type]
	if !ok {
		return 0, unsupported(where, "type %d is not known", uint32(t.Type))
	}
	n := t.Elements()
	if n == 0 {
		return 0, malformed(where, "dimensions %d", t.Dims)
	}
	if t.Dims[0]%l.weights != 0 {
		return 0, malformed(where, "rows of %d weights, which are no whole blocks of %s", t.Dims[0], l.name)
	}
	hi, size := bits.Mul64(n/l.weights, l.bytes)
	if hi != 0 || size > math.MaxInt64 {
		return 0, malformed(where, "dimensions %d", t.Dims)
	}
	return int64(size), nil
}
