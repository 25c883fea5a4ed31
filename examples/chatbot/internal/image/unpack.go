package image

import (
	"io"

	"github.com/nitroseal/nitroseal/attest/eif"
)

// Sizes of an image's headers, in bytes.
const (
	eifHeader     = 548
	sectionHeader = 12
)

// Unpack copies the kernel of an image, which eif.Read has read, to one writer
// and its ramdisks, one behind the other, to another, for a machine that has no
// loader for such images.
func Unpack(r io.ReaderAt, img *eif.Image, kernel, ramdisks io.Writer) error {
	at := int64(eifHeader)
	for _, s := range img.Sections {
		at += sectionHeader
		var to io.Writer
		switch s.Type {
		case eif.Kernel:
			to = kernel
		case eif.Ramdisk:
			to = ramdisks
		}
		if to != nil {
			if _, err := io.Copy(to, io.NewSectionReader(r, at, s.Size)); err != nil {
				return err
			}
		}
		at += s.Size
	}
	return nil
}

// WriteRamdisk writes a ramdisk of files of this machine, by their absolute
// names in the enclave.
func WriteRamdisk(w io.Writer, files map[string]string) error {
	a := archive{}
	for name, source := range files {
		if err := a.file(name, source); err != nil {
			return err
		}
	}
	return a.write(w)
}
