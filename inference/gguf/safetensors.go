package gguf

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"math"
	"math/bits"
	"slices"
)

// weightType is the type of weights in a safetensors file.
type weightType string

// weightBytes are the types that Convert reads.
var weightBytes = map[weightType]int64{"F32": 4, "F16": 2, "BF16": 2}

// weights is a tensor of a safetensors file.
type weights struct {
	Type  weightType `json:"dtype"`
	Shape []int64    `json:"shape"`
	// Range is where its bytes begin and end, at first relative to the end
	// of the header.
	Range []int64 `json:"data_offsets"`

	name string
	file string
	r    io.ReaderAt
}

// count returns the number of weights, or -1 if the shape is impossible.
func (w *weights) count() int64 {
	n := uint64(1)
	for _, d := range w.Shape {
		hi, lo := bits.Mul64(n, uint64(d))
		if d < 0 || hi != 0 || lo > math.MaxInt64/8 {
			return -1
		}
		n = lo
	}
	return int64(n)
}

// readSafetensors reads the header of a file in the safetensors format: its
// length in 8 bytes, a JSON object of at most 16 MiB, and then the tensors'
// bytes, which must fill the rest of the file without gaps.
func readSafetensors(name string, r io.ReaderAt, size int64) ([]*weights, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, malformed(name, "it has %d bytes", size)
	}
	if err := readFull(r, prefix[:], 0, name); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length > uint64(size-8) {
		return nil, malformed(name, "the file ends before its header does")
	}
	if length > maxIndex {
		return nil, overLimit(name, "a header of %d bytes, at most %d are read", length, maxIndex)
	}
	header := make([]byte, length)
	if err := readFull(r, header, 8, name); err != nil {
		return nil, err
	}
	if length == 0 || header[0] != '{' {
		return nil, malformed(name, "its header is no JSON object")
	}
	// A validity check of the whole comes first: what follows the object,
	// other than space, would be overlooked by what comes next.
	if !json.Valid(header) {
		return nil, malformed(name, "its header is no JSON")
	}
	tensors, err := parseSafetensors(name, header)
	if err != nil {
		return nil, err
	}
	if err := placeWeights(tensors, name, r, 8+int64(length), size); err != nil {
		return nil, err
	}
	return tensors, nil
}

func parseSafetensors(file string, header []byte) ([]*weights, error) {
	var tensors []*weights
	seen := make(map[string]bool)
	err := members(header, func(name string, d *json.Decoder) error {
		where := file + ": tensor " + quote(name)
		if seen[name] {
			return malformed(where, "it is there twice")
		}
		seen[name] = true
		if name == "__metadata__" {
			return d.Decode(&struct{}{})
		}
		if len(seen) > maxTensors {
			return overLimit(file, "more than %d tensors", maxTensors)
		}
		w := &weights{name: name, file: file}
		if err := d.Decode(w); err != nil {
			return malformed(where, "its description is malformed")
		}
		size, ok := weightBytes[w.Type]
		if !ok {
			return unsupported(where, "weights of type %s, not F32, F16 or BF16", quote(string(w.Type)))
		}
		n := w.count()
		if len(w.Shape) > maxDims || len(w.Range) != 2 || w.Range[0] < 0 || w.Range[1] < w.Range[0] || w.Range[1]-w.Range[0] != n*size {
			return malformed(where, "shape %d of %s does not have the bytes %d", w.Shape, w.Type, w.Range)
		}
		tensors = append(tensors, w)
		return nil
	})
	if err != nil {
		if _, ok := errors.AsType[*Error](err); !ok {
			err = malformed(file, "its header: %v", err)
		}
		return nil, err
	}
	return tensors, nil
}

// placeWeights checks that the tensors fill the file from start to size, and
// makes their ranges absolute.
func placeWeights(tensors []*weights, name string, r io.ReaderAt, start, size int64) error {
	byOffset := slices.Clone(tensors)
	slices.SortFunc(byOffset, func(a, b *weights) int {
		return cmp.Or(cmp.Compare(a.Range[0], b.Range[0]), cmp.Compare(a.Range[1], b.Range[1]))
	})
	next := int64(0)
	for _, w := range byOffset {
		if w.Range[0] != next {
			return malformed(name+": tensor "+quote(w.name), "it begins at %d, the one before ends at %d", w.Range[0], next)
		}
		next = w.Range[1]
		w.r = r
	}
	if next != size-start {
		return malformed(name, "its tensors have %d bytes, the file %d", next, size-start)
	}
	for _, w := range tensors {
		w.Range[0] += start
		w.Range[1] += start
	}
	return nil
}

// readFull fills p from an offset of a file that is known to be long enough.
func readFull(r io.ReaderAt, p []byte, offset int64, name string) error {
	n, err := r.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return malformed(name, "the file has become shorter")
	}
	return err
}
