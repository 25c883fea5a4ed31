package eif

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/attest"
)

// BuildOptions says what goes into an image.
type BuildOptions struct {
	// Arch is "x86_64" or "arm64"; empty means x86_64.
	Arch string
	// Kernel is the kernel's image. Required.
	Kernel io.ReadSeeker
	// Cmdline is the kernel's command line, at most 64 KiB and without NUL.
	// Required.
	Cmdline string
	// Ramdisks, at least one: the first boots, the others are the
	// application. Each is read twice.
	Ramdisks []io.ReadSeeker
	// Metadata is a JSON value, or nil for an empty object. It is not
	// measured. Times in it make builds differ.
	Metadata json.RawMessage
	// Signer signs the image; nil leaves it unsigned.
	Signer *Signer
}

// part is a section with its contents.
type part struct {
	Section
	content io.ReadSeeker
}

// Build writes an image to w, from its current position, and returns what Read
// would. The same options give the same bytes. Errors are about the options, or
// those of w and of the readers, as they are; w then holds no image.
func Build(w io.WriteSeeker, opts BuildOptions) (*Image, error) {
	if w == nil {
		return nil, errors.New("eif: nothing to write to")
	}
	parts, h, err := opts.parts()
	if err != nil {
		return nil, err
	}
	// First pass: measure, since the signature comes with its size into the
	// header in front.
	m := newMeasurer()
	for _, p := range parts {
		if sink := m.section(p.Type); sink != nil {
			if err := p.copy(sink); err != nil {
				return nil, err
			}
		}
	}
	image := &Image{Version: version, Arch: "x86_64", Cmdline: opts.Cmdline, Metadata: opts.Metadata, PCRs: m.pcrs()}
	if h.flags&flagARM64 != 0 {
		image.Arch = "arm64"
	}
	if opts.Signer != nil {
		section, err := opts.Signer.section(image.PCRs[0])
		if err != nil {
			return nil, err
		}
		if image.SigningCertificate, err = verifySignature(section, image.PCRs[0]); err != nil {
			return nil, err
		}
		parts = append(parts, part{Section{Signature, int64(len(section))}, strings.NewReader(string(section))})
		image.PCRs[8] = attest.PCR8(image.SigningCertificate)
	}
	if len(parts) > maxSections {
		return nil, fmt.Errorf("eif: %d sections, at most %d are possible", len(parts), maxSections)
	}
	h.count = uint16(len(parts))
	at := uint64(headerSize)
	for i, p := range parts {
		h.offsets[i], h.sizes[i] = at, uint64(p.Size)
		at += sectionHeaderSize + uint64(p.Size)
		image.Sections = append(image.Sections, p.Section)
	}
	image.CRC, err = write(w, h, parts)
	if err != nil {
		return nil, err
	}
	return image, nil
}

// parts checks the options and lists the sections in the order in which
// nitro-cli writes them, the signature excepted.
func (o *BuildOptions) parts() ([]part, *header, error) {
	h := &header{version: version}
	switch o.Arch {
	case "", "x86_64":
	case "arm64":
		h.flags = flagARM64
	default:
		return nil, nil, fmt.Errorf("eif: unknown architecture %q", o.Arch)
	}
	if o.Kernel == nil || o.Cmdline == "" || len(o.Ramdisks) == 0 || slices.Contains(o.Ramdisks, nil) {
		return nil, nil, errors.New("eif: an image needs a kernel, a command line and a ramdisk")
	}
	if strings.ContainsRune(o.Cmdline, 0) {
		return nil, nil, errors.New("eif: the command line holds a NUL, at which the kernel would stop to read")
	}
	if o.Metadata == nil {
		o.Metadata = json.RawMessage("{}")
	}
	if len(o.Cmdline) > maxCmdline || len(o.Metadata) > maxMetadata || !json.Valid(o.Metadata) {
		return nil, nil, errors.New("eif: the command line is too long, or the metadata too long or no JSON")
	}
	parts := []part{
		{Section{Type: Kernel}, o.Kernel},
		{Section{Type: Cmdline}, strings.NewReader(o.Cmdline)},
		{Section{Type: Metadata}, strings.NewReader(string(o.Metadata))},
	}
	for _, r := range o.Ramdisks {
		parts = append(parts, part{Section{Type: Ramdisk}, r})
	}
	for i := range parts {
		size, err := parts[i].content.Seek(0, io.SeekEnd)
		if err != nil {
			return nil, nil, err
		}
		if size > maxSize {
			return nil, nil, fmt.Errorf("eif: %v of %d bytes", parts[i].Type, size)
		}
		parts[i].Size = size
	}
	return parts, h, nil
}

// copy writes the whole contents to w and notices if they changed in size.
func (p *part) copy(w io.Writer) error {
	if _, err := p.content.Seek(0, io.SeekStart); err != nil {
		return err
	}
	n, err := io.Copy(w, p.content)
	if err == nil && n != p.Size {
		err = fmt.Errorf("eif: the %v changed while it was read", p.Type)
	}
	return err
}

// write writes header and sections, and then the checksum into the header.
func write(w io.WriteSeeker, h *header, parts []part) (uint32, error) {
	start, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	head := h.encode()
	sum := crc32.NewIEEE()
	sum.Write(head[:crcOffset])
	if _, err := w.Write(head); err != nil {
		return 0, err
	}
	both := io.MultiWriter(w, sum)
	for _, p := range parts {
		if _, err := both.Write(p.encode()); err != nil {
			return 0, err
		}
		if err := p.copy(both); err != nil {
			return 0, err
		}
	}
	end, err := w.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if _, err := w.Seek(start+crcOffset, io.SeekStart); err != nil {
		return 0, err
	}
	if err := binary.Write(w, binary.BigEndian, sum.Sum32()); err != nil {
		return 0, err
	}
	_, err = w.Seek(end, io.SeekStart)
	return sum.Sum32(), err
}
