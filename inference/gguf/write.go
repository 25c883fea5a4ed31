package gguf

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// Source is a tensor to be written.
type Source struct {
	// Tensor gives name, type and dimensions.
	Tensor
	// Data writes the tensor's bytes, exactly as many as type and dimensions
	// say; a *bytes.Reader can do it, and so can something that computes them
	// as it goes.
	Data io.WriterTo
}

// Write writes a GGUF file of version 3: the metadata and the tensors in the
// given order, aligned as the key general.alignment says, else to 32 bytes.
// The same input gives the same bytes. Nothing is written if Read would refuse
// the file; after any other error w has an unfinished one.
//
// Metadata and tensor descriptions are in memory as a whole, data is not.
func Write(w io.Writer, metadata Metadata, tensors []Source) error {
	if w == nil {
		return errNoWriter
	}
	for _, t := range tensors {
		if t.Data == nil {
			return malformed("tensor "+quote(t.Name), "no data")
		}
	}
	h, err := newHeader(metadata, tensors)
	if err != nil {
		return err
	}
	return h.write(w, tensors)
}

// errNoWriter is for a program that gives no writer.
var errNoWriter = errors.New("gguf: nothing to write to")

// header is all of a file before the first tensor's data, padded.
type header struct {
	bytes     []byte
	alignment int64
	sizes     []int64 // of the tensors, without padding
	fileSize  int64
}

func newHeader(metadata Metadata, tensors []Source) (*header, error) {
	b := []byte(magic)
	b = binary.LittleEndian.AppendUint32(b, writtenVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(metadata)))
	for _, kv := range metadata {
		b = appendString(b, kv.Key)
		var err error
		if b, err = appendValue(b, kv); err != nil {
			return nil, err
		}
	}
	h := &header{}
	var err error
	if h.alignment, err = metadata.alignment(); err != nil {
		return nil, err
	}
	offset := int64(0)
	for _, t := range tensors {
		size, err := t.size()
		if err != nil {
			return nil, err
		}
		b = appendString(b, t.Name)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			b = binary.LittleEndian.AppendUint64(b, d)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(offset))
		if size > maxFile-offset {
			return nil, overLimit("tensor "+quote(t.Name), "the file would be too large")
		}
		h.sizes = append(h.sizes, size)
		offset += align(size, h.alignment)
	}
	h.bytes = append(b, make([]byte, align(int64(len(b)), h.alignment)-int64(len(b)))...)
	h.fileSize = int64(len(h.bytes)) + offset
	// Read is the one place that knows all rules.
	if _, err := Read(bytes.NewReader(h.bytes), h.fileSize); err != nil {
		return nil, err
	}
	return h, nil
}

// maxFile is more than any file has, and leaves space to add to it.
const maxFile = math.MaxInt64 / 2

func (h *header) write(w io.Writer, tensors []Source) error {
	if _, err := w.Write(h.bytes); err != nil {
		return err
	}
	for i, t := range tensors {
		n, err := t.Data.WriteTo(w)
		if err != nil {
			return err
		}
		if n != h.sizes[i] {
			return malformed("tensor "+quote(t.Name), "%d bytes were written, not %d", n, h.sizes[i])
		}
		if _, err := w.Write(make([]byte, align(n, h.alignment)-n)); err != nil {
			return err
		}
	}
	return nil
}

func appendString(b []byte, s string) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}

// appendValue appends the type of a value, and the value.
func appendValue(b []byte, kv KeyValue) ([]byte, error) {
	switch v := kv.Value.(type) {
	case uint8:
		return append(appendType(b, typeUint8), v), nil
	case int8:
		return append(appendType(b, typeInt8), byte(v)), nil
	case bool:
		return appendFixed(appendType(b, typeBool), v)
	case uint16:
		return appendFixed(appendType(b, typeUint16), v)
	case int16:
		return appendFixed(appendType(b, typeInt16), v)
	case uint32:
		return appendFixed(appendType(b, typeUint32), v)
	case int32:
		return appendFixed(appendType(b, typeInt32), v)
	case uint64:
		return appendFixed(appendType(b, typeUint64), v)
	case int64:
		return appendFixed(appendType(b, typeInt64), v)
	case float32:
		return appendFixed(appendType(b, typeFloat32), v)
	case float64:
		return appendFixed(appendType(b, typeFloat64), v)
	case string:
		return appendString(appendType(b, typeString), v), nil
	case []string:
		b = appendArray(b, typeString, len(v))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b, nil
	case []uint8:
		return append(appendArray(b, typeUint8, len(v)), v...), nil
	case []int8:
		return appendFixed(appendArray(b, typeInt8, len(v)), v)
	case []bool:
		return appendFixed(appendArray(b, typeBool, len(v)), v)
	case []uint16:
		return appendFixed(appendArray(b, typeUint16, len(v)), v)
	case []int16:
		return appendFixed(appendArray(b, typeInt16, len(v)), v)
	case []uint32:
		return appendFixed(appendArray(b, typeUint32, len(v)), v)
	case []int32:
		return appendFixed(appendArray(b, typeInt32, len(v)), v)
	case []uint64:
		return appendFixed(appendArray(b, typeUint64, len(v)), v)
	case []int64:
		return appendFixed(appendArray(b, typeInt64, len(v)), v)
	case []float32:
		return appendFixed(appendArray(b, typeFloat32, len(v)), v)
	case []float64:
		return appendFixed(appendArray(b, typeFloat64, len(v)), v)
	}
	return nil, unsupported("key "+quote(kv.Key), "a value of type %T", kv.Value)
}

func appendType(b []byte, t valueType) []byte {
	return binary.LittleEndian.AppendUint32(b, uint32(t))
}

func appendArray(b []byte, t valueType, n int) []byte {
	b = appendType(appendType(b, typeArray), t)
	return binary.LittleEndian.AppendUint64(b, uint64(n))
}

// appendFixed appends a number, a boolean, or a slice of them.
func appendFixed(b []byte, v any) ([]byte, error) {
	return binary.Append(b, binary.LittleEndian, v)
}
