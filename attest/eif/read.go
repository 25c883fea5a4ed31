package eif

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"

	"github.com/nitroseal/nitroseal/attest"
)

// Image is what an enclave image file holds, but for kernel and ramdisks.
type Image struct {
	// Version of the format.
	Version int
	// Arch is "x86_64" or "arm64".
	Arch string
	// Sections in the order of the file.
	Sections []Section
	// Cmdline of the kernel.
	Cmdline string
	// Metadata is the JSON of the metadata section, nil without one. It is
	// not measured.
	Metadata json.RawMessage
	// CRC is the checksum in the header, which was found right.
	CRC uint32
	// PCRs are PCR0, PCR1 and PCR2 and, of a signed image, PCR8.
	PCRs attest.PCRs
	// SigningCertificate is that of a signed image, nil otherwise. Its key
	// signed PCR0; nothing else about it was checked, its validity included.
	SigningCertificate *x509.Certificate
}

// Read reads an image to its end, checks it and measures it. It needs the same
// little memory for any size. Errors are ErrFormat, ErrChecksum and
// ErrSignature, wrapped with detail, and those of r.
func Read(r io.Reader) (*Image, error) {
	if r == nil {
		return nil, malformed("nothing to read from")
	}
	br := bufio.NewReaderSize(r, 1<<20)
	raw := make([]byte, headerSize)
	if err := full(br, raw); err != nil {
		return nil, err
	}
	h, err := decodeHeader(raw)
	if err != nil {
		return nil, err
	}
	p := &parser{
		r:     br,
		crc:   crc32.Update(0, crc32.IEEETable, raw[:crcOffset]),
		m:     newMeasurer(),
		seen:  map[SectionType]int{},
		image: &Image{Version: int(h.version), Arch: "x86_64", CRC: h.crc},
	}
	if h.flags&flagARM64 != 0 {
		p.image.Arch = "arm64"
	}
	for i := range int(h.count) {
		if err := p.section(h.sizes[i]); err != nil {
			return nil, err
		}
	}
	if _, err := br.ReadByte(); err != io.EOF {
		if err != nil {
			return nil, err
		}
		return nil, malformed("data after the last section")
	}
	for _, t := range []SectionType{Kernel, Cmdline, Ramdisk} {
		if p.seen[t] == 0 {
			return nil, malformed("no %v section", t)
		}
	}
	if p.crc != h.crc {
		return nil, ErrChecksum
	}
	p.image.PCRs = p.m.pcrs()
	if p.seen[Signature] > 0 {
		cert, err := verifySignature(p.signature, p.image.PCRs[0])
		if err != nil {
			return nil, err
		}
		p.image.SigningCertificate = cert
		p.image.PCRs[8] = attest.PCR8(cert)
	}
	return p.image, nil
}

// parser reads the sections of one image.
type parser struct {
	r         *bufio.Reader
	crc       uint32
	m         *measurer
	seen      map[SectionType]int
	signature []byte
	image     *Image
}

// Write takes what is read into the checksum.
func (p *parser) Write(b []byte) (int, error) {
	p.crc = crc32.Update(p.crc, crc32.IEEETable, b)
	return len(b), nil
}

func (p *parser) section(size uint64) error {
	raw := make([]byte, sectionHeaderSize)
	if err := full(p.r, raw); err != nil {
		return err
	}
	p.Write(raw)
	s, err := decodeSection(raw, size)
	if err != nil {
		return err
	}
	if err := p.order(s.Type); err != nil {
		return err
	}
	p.image.Sections = append(p.image.Sections, s)

	var sink io.Writer = p
	if measured := p.m.section(s.Type); measured != nil {
		sink = io.MultiWriter(p, measured)
	}
	var keep bytes.Buffer
	limit := int64(maxSize)
	switch s.Type {
	case Cmdline:
		limit = maxCmdline
	case Metadata:
		limit = maxMetadata
	case Signature:
		limit = maxSignature
	}
	if s.Size > limit {
		return malformed("%v section of %d bytes, at most %d are taken", s.Type, s.Size, limit)
	}
	if limit < maxSize {
		sink = io.MultiWriter(sink, &keep)
	}
	if n, err := io.Copy(sink, io.LimitReader(p.r, s.Size)); err != nil {
		return err
	} else if n != s.Size {
		return malformed("cut off in the %v section", s.Type)
	}
	switch s.Type {
	case Cmdline:
		p.image.Cmdline = keep.String()
	case Metadata:
		if !json.Valid(keep.Bytes()) {
			return malformed("metadata is no JSON")
		}
		p.image.Metadata = keep.Bytes()
	case Signature:
		p.signature = keep.Bytes()
	}
	return nil
}

// order refuses what would make the measurements ambiguous: each section but
// ramdisks comes once, and ramdisks come after kernel and command line.
func (p *parser) order(t SectionType) error {
	if t != Ramdisk && p.seen[t] > 0 {
		return malformed("two %v sections", t)
	}
	if t == Ramdisk && (p.seen[Kernel] == 0 || p.seen[Cmdline] == 0) || t == Cmdline && p.seen[Kernel] == 0 {
		return malformed("%v section in front of kernel or command line", t)
	}
	p.seen[t]++
	return nil
}

// full reads exactly len(b) bytes.
func full(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("cut off")
	}
	return err
}
