package gguf

import (
	"io"
	"math"
)

// What Read accepts at most.
const (
	maxHeader     = 128 << 20 // bytes before the tensors' data
	maxPairs      = 1 << 14   // metadata pairs
	maxTensors    = 1 << 16
	maxElements   = 1 << 22 // of one metadata array
	maxKey        = 1<<16 - 1
	maxTensorName = 64
	maxDims       = 4
	maxAlignment  = 1 << 20
)

const (
	magic            = "GGUF"
	writtenVersion   = 3
	defaultAlignment = 32
	alignmentKey     = "general.alignment"
)

// File is what Read found. It is safe for concurrent use if its reader is.
type File struct {
	// Version is 2 or 3.
	Version uint32
	// Alignment is the number of bytes that tensors' offsets are multiples of.
	Alignment int64
	// Metadata has no key twice.
	Metadata Metadata
	// Tensors are in the file's order, which is that of their bytes.
	Tensors []Tensor

	r io.ReaderAt
}

// Tensor returns the tensor of a name.
func (f *File) Tensor(name string) (t Tensor, ok bool) {
	for _, t := range f.Tensors {
		if t.Name == name {
			return t, true
		}
	}
	return Tensor{}, false
}

// Data returns a reader of the bytes of one of f.Tensors.
func (f *File) Data(t Tensor) *io.SectionReader {
	return io.NewSectionReader(f.r, t.Offset, t.Size)
}

// Read reads everything of a GGUF file of the given size but the tensors'
// data, which it leaves in r. The errors are *Error, or r's own.
//
// It is strict. Every byte of the file has a place: tensors follow each other
// in order, each at the next multiple of the alignment, as ggml demands too,
// and nothing follows the last one but its padding.
//
// Memory: nothing is allocated for a length before the file is known to have
// that many bytes left, so what Read returns takes at most about three times
// the header of the file, and that is limited.
func Read(r io.ReaderAt, size int64) (*File, error) {
	if r == nil {
		return nil, malformed("", "nothing to read from")
	}
	if size < 0 {
		return nil, malformed("", "a size of %d bytes", size)
	}
	d := &decoder{r: io.NewSectionReader(r, 0, min(size, maxHeader)), limited: size > maxHeader}
	d.left = d.r.Size()
	f := &File{Alignment: defaultAlignment, r: r}
	tensors, pairs, err := f.readHeader(d)
	if err != nil {
		return nil, err
	}
	if err := f.readMetadata(d, pairs); err != nil {
		return nil, err
	}
	if err := f.readTensors(d, tensors); err != nil {
		return nil, err
	}
	if err := f.place(d.r.Size()-d.left, size); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) readHeader(d *decoder) (tensors, pairs uint64, err error) {
	var head [4]byte
	if err := d.bytes(head[:]); err != nil {
		return 0, 0, err
	}
	if string(head[:]) != magic {
		return 0, 0, malformed("", "the file does not begin with %s", magic)
	}
	if f.Version, err = d.uint32(); err != nil {
		return 0, 0, err
	}
	switch {
	case f.Version == 2 || f.Version == 3:
	case f.Version != 0 && f.Version&0xffff == 0:
		return 0, 0, unsupported("", "the file is big-endian")
	default:
		return 0, 0, unsupported("", "version %d, not 2 or 3", f.Version)
	}
	if tensors, err = d.uint64(); err != nil {
		return 0, 0, err
	}
	if pairs, err = d.uint64(); err != nil {
		return 0, 0, err
	}
	if tensors > maxTensors {
		return 0, 0, overLimit("", "%d tensors, at most %d are read", tensors, maxTensors)
	}
	if pairs > maxPairs {
		return 0, 0, overLimit("", "%d metadata pairs, at most %d are read", pairs, maxPairs)
	}
	return tensors, pairs, nil
}

func (f *File) readMetadata(d *decoder, pairs uint64) error {
	seen := make(map[string]bool)
	for range pairs {
		key, err := d.string(maxKey)
		if err != nil {
			return err
		}
		if err := checkKey(key); err != nil {
			return err
		}
		if seen[key] {
			return malformed("key "+quote(key), "it is there twice")
		}
		seen[key] = true
		d.where = "key " + quote(key)
		value, err := d.value()
		if err != nil {
			return err
		}
		d.where = ""
		f.Metadata = append(f.Metadata, KeyValue{key, value})
	}
	alignment, err := f.Metadata.alignment()
	f.Alignment = alignment
	return err
}

// alignment returns the alignment of tensors that the metadata asks for.
func (m Metadata) alignment() (int64, error) {
	v, ok := m.Get(alignmentKey)
	if !ok {
		return defaultAlignment, nil
	}
	a, ok := v.(uint32)
	if !ok {
		return 0, malformed("key "+quote(alignmentKey), "it is no uint32")
	}
	if a > maxAlignment {
		return 0, overLimit("key "+quote(alignmentKey), "%d, at most %d is read", a, maxAlignment)
	}
	// The specification asks for a multiple of 8, ggml for a power of two.
	if a < 8 || a&(a-1) != 0 {
		return 0, malformed("key "+quote(alignmentKey), "%d is no power of two from 8", a)
	}
	return int64(a), nil
}

// readTensors reads the descriptions; their offsets are still relative.
func (f *File) readTensors(d *decoder, n uint64) error {
	seen := make(map[string]bool)
	for range n {
		t, err := d.tensor()
		if err != nil {
			return err
		}
		if seen[t.Name] {
			return malformed("tensor "+quote(t.Name), "it is there twice")
		}
		seen[t.Name] = true
		f.Tensors = append(f.Tensors, t)
	}
	return nil
}

// place checks the tensors' offsets and makes them absolute. The header ends
// at header, the file at size.
func (f *File) place(header, size int64) error {
	if len(f.Tensors) == 0 {
		if end := align(header, f.Alignment); size > end {
			return malformed("", "%d bytes follow, but there are no tensors", size-header)
		}
		return nil
	}
	data := align(header, f.Alignment)
	next := int64(0) // where the next tensor begins, relative to data
	for i := range f.Tensors {
		t := &f.Tensors[i]
		where := "tensor " + quote(t.Name)
		switch {
		case t.Offset%f.Alignment != 0:
			return malformed(where, "offset %d is no multiple of %d", t.Offset, f.Alignment)
		case t.Offset < next:
			return malformed(where, "offset %d overlaps the tensor before", t.Offset)
		case t.Offset > next:
			return malformed(where, "offset %d leaves a gap of %d bytes", t.Offset, t.Offset-next)
		case t.Size > size-data-t.Offset:
			return malformed(where, "the file ends before the tensor does")
		}
		next = align(t.Offset+t.Size, f.Alignment)
		t.Offset += data
	}
	if size-data > next {
		return malformed("", "%d bytes follow the last tensor", size-data-next)
	}
	return nil
}

// align returns the next multiple of alignment. n is a position in a file, so
// the sum overflows only where the file would be larger than any.
func align(n, alignment int64) int64 {
	if n > math.MaxInt64-alignment {
		return math.MaxInt64
	}
	return (n + alignment - 1) &^ (alignment - 1)
}
