package eif

import (
	"crypto/sha512"
	"hash"
	"io"

	"github.com/nitroseal/nitroseal/attest"
)

// measurer computes PCR0, PCR1 and PCR2 of sections in the order of the file.
type measurer struct {
	image, boot, app hash.Hash
	ramdisks         int
}

func newMeasurer() *measurer {
	return &measurer{image: sha512.New384(), boot: sha512.New384(), app: sha512.New384()}
}

// section returns where the contents of the next section are measured; nil for
// sections that are not.
func (m *measurer) section(t SectionType) io.Writer {
	switch t {
	case Kernel, Cmdline:
		return io.MultiWriter(m.image, m.boot)
	case Ramdisk:
		m.ramdisks++
		if m.ramdisks == 1 {
			return io.MultiWriter(m.image, m.boot)
		}
		return io.MultiWriter(m.image, m.app)
	}
	return nil
}

func (m *measurer) pcrs() attest.PCRs {
	pcrs := attest.PCRs{}
	for i, h := range []hash.Hash{m.image, m.boot, m.app} {
		pcrs[i] = attest.PCRFromDigest([sha512.Size384]byte(h.Sum(nil)))
	}
	return pcrs
}
