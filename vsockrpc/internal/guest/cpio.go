package guest

import (
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
)

// Modes of files in the archive, as in stat(2).
const (
	modeDir  = 0o040755
	modeFile = 0o100755
)

// writeCPIO writes an archive in the "newc" form (Linux, "initramfs buffer
// format") with files by their absolute names, and their folders.
func writeCPIO(w io.Writer, files map[string][]byte) error {
	c := &cpio{w: w}
	folders := map[string]bool{"/": true, ".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var above []string
		for dir := path.Dir(name); !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
			above = append(above, dir)
		}
		for _, dir := range slices.Backward(above) {
			c.entry(dir[1:], modeDir, nil)
		}
		c.entry(name[1:], modeFile, files[name])
	}
	c.entry("TRAILER!!!", 0, nil)
	return c.err
}

type cpio struct {
	w   io.Writer
	ino int
	err error
}

func (c *cpio) entry(name string, mode int, data []byte) {
	c.ino++
	links := 1
	if mode == modeDir {
		links = 2
	}
	c.write([]byte(fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		c.ino, mode, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)))
	c.write(append([]byte(name), 0))
	c.pad(110 + len(name) + 1)
	c.write(data)
	c.pad(len(data))
}

// pad fills up to a multiple of four bytes.
func (c *cpio) pad(n int) { c.write(make([]byte, -n&3)) }

func (c *cpio) write(p []byte) {
	if c.err == nil {
		_, c.err = c.w.Write(p)
	}
}
