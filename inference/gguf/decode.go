package gguf

import (
	"bufio"
	"encoding/binary"
	"io"
	"math"
)

// decoder reads the header of a file. left counts the bytes that are there;
// every length is compared with it before anything is allocated.
type decoder struct {
	r       *io.SectionReader
	buf     *bufio.Reader
	left    int64
	limited bool   // the file is longer than maxHeader
	where   string // what is being read, for errors
	scratch [8]byte
}

// need takes n elements of at least size bytes from what is left, or says why
// not.
func (d *decoder) need(n, size uint64) error {
	if n <= uint64(d.left)/size {
		return nil
	}
	if d.limited {
		return overLimit(d.where, "metadata and tensor descriptions have more than %d bytes", int64(maxHeader))
	}
	return malformed(d.where, "the file ends too early")
}

func (d *decoder) bytes(p []byte) error {
	if err := d.need(uint64(len(p)), 1); err != nil {
		return err
	}
	if d.buf == nil {
		d.buf = bufio.NewReaderSize(d.r, 64<<10)
	}
	if _, err := io.ReadFull(d.buf, p); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return malformed(d.where, "the file ends too early")
		}
		return err
	}
	d.left -= int64(len(p))
	return nil
}

func (d *decoder) uint8() (uint8, error) {
	err := d.bytes(d.scratch[:1])
	return d.scratch[0], err
}

func (d *decoder) uint16() (uint16, error) {
	err := d.bytes(d.scratch[:2])
	return binary.LittleEndian.Uint16(d.scratch[:]), err
}

func (d *decoder) uint32() (uint32, error) {
	err := d.bytes(d.scratch[:4])
	return binary.LittleEndian.Uint32(d.scratch[:]), err
}

func (d *decoder) uint64() (uint64, error) {
	err := d.bytes(d.scratch[:8])
	return binary.LittleEndian.Uint64(d.scratch[:]), err
}

func (d *decoder) int8() (int8, error) {
	v, err := d.uint8()
	return int8(v), err
}

func (d *decoder) int16() (int16, error) {
	v, err := d.uint16()
	return int16(v), err
}

func (d *decoder) int32() (int32, error) {
	v, err := d.uint32()
	return int32(v), err
}

func (d *decoder) int64() (int64, error) {
	v, err := d.uint64()
	return int64(v), err
}

func (d *decoder) float32() (float32, error) {
	v, err := d.uint32()
	return math.Float32frombits(v), err
}

func (d *decoder) float64() (float64, error) {
	v, err := d.uint64()
	return math.Float64frombits(v), err
}

func (d *decoder) bool() (bool, error) {
	v, err := d.uint8()
	if err == nil && v > 1 {
		err = malformed(d.where, "a boolean is %d, not 0 or 1", v)
	}
	return v == 1, err
}

// string reads a string of at most that many bytes.
func (d *decoder) string(most uint64) (string, error) {
	n, err := d.uint64()
	if err != nil {
		return "", err
	}
	if err := d.need(n, 1); err != nil {
		return "", err
	}
	if n > most {
		return "", overLimit(d.where, "a name of %d bytes, at most %d are read", n, most)
	}
	p := make([]byte, n)
	if err := d.bytes(p); err != nil {
		return "", err
	}
	return string(p), nil
}

// text reads a string that only the file limits.
func (d *decoder) text() (string, error) { return d.string(math.MaxUint64) }

// value reads the type of a metadata value, and the value.
func (d *decoder) value() (any, error) {
	t, err := d.uint32()
	if err != nil {
		return nil, err
	}
	if valueType(t) == typeArray {
		return d.array()
	}
	switch valueType(t) {
	case typeUint8:
		return scalar(d.uint8)
	case typeInt8:
		return scalar(d.int8)
	case typeUint16:
		return scalar(d.uint16)
	case typeInt16:
		return scalar(d.int16)
	case typeUint32:
		return scalar(d.uint32)
	case typeInt32:
		return scalar(d.int32)
	case typeFloat32:
		return scalar(d.float32)
	case typeBool:
		return scalar(d.bool)
	case typeString:
		return scalar(d.text)
	case typeUint64:
		return scalar(d.uint64)
	case typeInt64:
		return scalar(d.int64)
	case typeFloat64:
		return scalar(d.float64)
	}
	return nil, malformed(d.where, "a value of type %d, which does not exist", t)
}

// scalar keeps a value from being returned beside an error.
func scalar[T any](read func() (T, error)) (any, error) {
	v, err := read()
	if err != nil {
		return nil, err
	}
	return v, nil
}

func (d *decoder) array() (any, error) {
	t, err := d.uint32()
	if err != nil {
		return nil, err
	}
	n, err := d.uint64()
	if err != nil {
		return nil, err
	}
	if n > maxElements {
		return nil, overLimit(d.where, "an array of %d elements, at most %d are read", n, maxElements)
	}
	switch valueType(t) {
	case typeUint8:
		return elements(d, n, 1, d.uint8)
	case typeInt8:
		return elements(d, n, 1, d.int8)
	case typeUint16:
		return elements(d, n, 2, d.uint16)
	case typeInt16:
		return elements(d, n, 2, d.int16)
	case typeUint32:
		return elements(d, n, 4, d.uint32)
	case typeInt32:
		return elements(d, n, 4, d.int32)
	case typeFloat32:
		return elements(d, n, 4, d.float32)
	case typeBool:
		return elements(d, n, 1, d.bool)
	case typeString:
		return elements(d, n, 8, d.text)
	case typeUint64:
		return elements(d, n, 8, d.uint64)
	case typeInt64:
		return elements(d, n, 8, d.int64)
	case typeFloat64:
		return elements(d, n, 8, d.float64)
	case typeArray:
		return nil, unsupported(d.where, "an array of arrays")
	}
	return nil, malformed(d.where, "an array of type %d, which does not exist", t)
}

// elements reads n values that take at least size bytes each.
func elements[T any](d *decoder, n, size uint64, read func() (T, error)) (any, error) {
	if err := d.need(n, size); err != nil {
		return nil, err
	}
	values := make([]T, n)
	for i := range values {
		v, err := read()
		if err != nil {
			return nil, err
		}
		values[i] = v
	}
	return values, nil
}

// tensor reads a description and computes the tensor's size.
func (d *decoder) tensor() (Tensor, error) {
	name, err := d.string(maxTensorName)
	if err != nil {
		return Tensor{}, err
	}
	d.where = "tensor " + quote(name)
	defer func() { d.where = "" }()
	dims, err := d.uint32()
	if err != nil {
		return Tensor{}, err
	}
	if dims > maxDims {
		return Tensor{}, malformed(d.where, "%d dimensions, not 1 to %d", dims, maxDims)
	}
	t := Tensor{Name: name, Dims: make([]uint64, dims)}
	for i := range t.Dims {
		if t.Dims[i], err = d.uint64(); err != nil {
			return Tensor{}, err
		}
	}
	typ, err := d.uint32()
	if err != nil {
		return Tensor{}, err
	}
	t.Type = TensorType(typ)
	offset, err := d.uint64()
	if err != nil {
		return Tensor{}, err
	}
	if offset > math.MaxInt64 {
		return Tensor{}, malformed(d.where, "offset %d", offset)
	}
	t.Offset = int64(offset)
	if t.Size, err = t.size(); err != nil {
		return Tensor{}, err
	}
	return t, nil
}
