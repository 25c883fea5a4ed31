package image

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path"
	"slices"
	"strings"
)

// Types of files in an archive, as in stat(2).
const (
	typeDir  = 0o040000
	typeFile = 0o100000
	typeLink = 0o120000
	typeChar = 0o020000

	typeMask = 0o170000
)

// maxFile is the largest file of an archive: its size has 32 bits.
const maxFile = math.MaxUint32

// node is a file of an archive.
type node struct {
	mode uint32 // type and permissions
	// data is the contents, or where a link points to.
	data []byte
	// source names a file of this machine that has the contents instead.
	source       string
	major, minor uint32 // of a device
}

// archive is a ramdisk: files by their absolute names.
type archive map[string]node

func (a archive) dir(name string) { a[name] = node{mode: typeDir | 0o755} }
func (a archive) link(name, to string) {
	a[name] = node{mode: typeLink | 0o777, data: []byte(to)}
}
func (a archive) bytes(name string, data []byte) {
	a[name] = node{mode: typeFile | 0o644, data: data}
}

// file adds a file of this machine. What can be executed there can be here.
func (a archive) file(name, source string) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("image: %s is no regular file", source)
	}
	if info.Size() > maxFile {
		return fmt.Errorf("image: %s has %d bytes; a file in a ramdisk has less than 4 GiB: give large models as -sealed-model, which does not lie in the image", source, info.Size())
	}
	mode := uint32(typeFile | 0o644)
	if info.Mode()&0o111 != 0 {
		mode |= 0o111
	}
	a[name] = node{mode: mode, source: source}
	return nil
}

// write writes the archive in the "newc" form (Linux, "initramfs buffer
// format"), with the folders that files lie in.
func (a archive) write(w io.Writer) error {
	all := maps.Clone(a)
	for name := range a {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, ok := all[dir]; !ok {
				all.dir(dir)
			}
		}
	}
	c := &cpio{w: w}
	// Sorted, a folder comes before what lies in it.
	for _, name := range slices.Sorted(maps.Keys(all)) {
		if err := c.add(strings.TrimPrefix(name, "/"), all[name]); err != nil {
			return fmt.Errorf("image: %s: %w", name, err)
		}
	}
	return c.add("TRAILER!!!", node{})
}

// cpio writes entries. Times, owners and devices are zero, and inode numbers
// count, so that nothing of this machine gets in.
type cpio struct {
	w   io.Writer
	ino int
}

func (c *cpio) add(name string, n node) error {
	content, size := io.Reader(bytes.NewReader(n.data)), int64(len(n.data))
	if n.source != "" {
		f, err := os.Open(n.source)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		content, size = f, info.Size()
		if size > maxFile {
			return fmt.Errorf("%d bytes are too much for a ramdisk", size)
		}
	}
	c.ino++
	links := 1
	if n.mode&typeMask == typeDir {
		links = 2
	}
	head := fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.ino, n.mode, 0, 0, links, 0, size, 0, 0, n.major, n.minor, len(name)+1, 0, name)
	if _, err := c.w.Write(append(head, make([]byte, -len(head)&3)...)); err != nil {
		return err
	}
	if copied, err := io.Copy(c.w, io.LimitReader(content, size)); err != nil {
		return err
	} else if copied != size {
		return errors.New("the file became shorter while it was read")
	}
	_, err := c.w.Write(make([]byte, -size&3))
	return err
}
