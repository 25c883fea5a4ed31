package eif

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Errors of Read; use errors.Is.
var (
	// ErrFormat: not an enclave image file of the known form.
	ErrFormat = errors.New("eif: malformed image")
	// ErrChecksum: the CRC-32 does not match the contents.
	ErrChecksum = errors.New("eif: wrong checksum")
	// ErrSignature: the signature section does not sign this image's PCR0.
	ErrSignature = errors.New("eif: bad signature")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrFormat, fmt.Sprintf(format, args...))
}

// Sizes of the format, in bytes; limits are this package's own where said.
const (
	headerSize        = 548
	sectionHeaderSize = 12
	maxSections       = 32
	crcOffset         = headerSize - 4
	maxCmdline        = 64 << 10 // own limit
	maxMetadata       = 1 << 20  // own limit
	maxSignature      = 32 << 10
	maxSize           = 1 << 40 // own limit, of one section
)

// Versions that are read. Version 4 added the metadata section.
const (
	oldestVersion = 3
	version       = 4
)

const flagARM64 = 1

var magic = []byte(".eif")

// SectionType says what a section holds.
type SectionType uint16

// The section types.
const (
	Kernel    SectionType = 1
	Cmdline   SectionType = 2
	Ramdisk   SectionType = 3
	Signature SectionType = 4
	Metadata  SectionType = 5
)

func (t SectionType) String() string {
	names := [...]string{Kernel: "kernel", Cmdline: "cmdline", Ramdisk: "ramdisk", Signature: "signature", Metadata: "metadata"}
	if int(t) < len(names) && t > 0 {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint16(t))
}

// header is the EIF header; all integers are big-endian.
type header struct {
	version  uint16
	flags    uint16
	memory   uint64
	cpus     uint64
	reserved uint16
	count    uint16
	offsets  [maxSections]uint64
	sizes    [maxSections]uint64
	unused   uint32
	crc      uint32
}

func (h *header) encode() []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, h.version)
	b = binary.BigEndian.AppendUint16(b, h.flags)
	b = binary.BigEndian.AppendUint64(b, h.memory)
	b = binary.BigEndian.AppendUint64(b, h.cpus)
	b = binary.BigEndian.AppendUint16(b, h.reserved)
	b = binary.BigEndian.AppendUint16(b, h.count)
	for _, table := range [][maxSections]uint64{h.offsets, h.sizes} {
		for _, v := range table {
			b = binary.BigEndian.AppendUint64(b, v)
		}
	}
	b = binary.BigEndian.AppendUint32(b, h.unused)
	return binary.BigEndian.AppendUint32(b, h.crc)
}

// decodeHeader reads a header of headerSize bytes and checks its tables: the
// sections follow each other without gaps.
func decodeHeader(b []byte) (*header, error) {
	if !bytes.Equal(b[:4], magic) {
		return nil, malformed("no EIF magic")
	}
	h := &header{}
	r := bytes.NewReader(b[4:])
	for _, v := range []any{&h.version, &h.flags, &h.memory, &h.cpus, &h.reserved, &h.count, &h.offsets, &h.sizes, &h.unused, &h.crc} {
		if err := binary.Read(r, binary.BigEndian, v); err != nil {
			return nil, malformed("header cut off")
		}
	}
	switch {
	case h.version < oldestVersion || h.version > version:
		return nil, malformed("version %d, known are %d and %d", h.version, oldestVersion, version)
	case h.flags&^flagARM64 != 0:
		return nil, malformed("unknown flags %#x", h.flags)
	case h.count < 1 || h.count > maxSections:
		return nil, malformed("%d sections, 1 to %d are allowed", h.count, maxSections)
	}
	at := uint64(headerSize)
	for i := range h.offsets {
		if i >= int(h.count) {
			if h.offsets[i] != 0 || h.sizes[i] != 0 {
				return nil, malformed("an unused entry of the section table is not zero")
			}
			continue
		}
		if h.offsets[i] != at {
			return nil, malformed("section %d is at %d, not at %d behind the one before", i, h.offsets[i], at)
		}
		if h.sizes[i] > maxSize {
			return nil, malformed("section %d has %d bytes", i, h.sizes[i])
		}
		at += sectionHeaderSize + h.sizes[i]
	}
	return h, nil
}

// Section is one part of an image.
type Section struct {
	Type SectionType
	// Size in bytes, without its header.
	Size int64
}

func (s Section) encode() []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(s.Type))
	b = binary.BigEndian.AppendUint16(b, 0) // flags
	return binary.BigEndian.AppendUint64(b, uint64(s.Size))
}

func decodeSection(b []byte, size uint64) (Section, error) {
	t := SectionType(binary.BigEndian.Uint16(b))
	if t < Kernel || t > Metadata {
		return Section{}, malformed("unknown section type %d", uint16(t))
	}
	if flags := binary.BigEndian.Uint16(b[2:]); flags != 0 {
		return Section{}, malformed("%v section with unknown flags %#x", t, flags)
	}
	if n := binary.BigEndian.Uint64(b[4:]); n != size {
		return Section{}, malformed("%v section of %d bytes, the table says %d", t, n, size)
	}
	return Section{Type: t, Size: int64(size)}, nil
}
