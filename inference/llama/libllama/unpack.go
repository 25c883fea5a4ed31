package libllama

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Limits of an archive: the pinned ones have about 25 files and 40 MB.
const (
	maxFiles = 200
	maxBytes = 512 << 20
)

// unpack writes the regular files below bins/ of a gzipped tar archive into
// dir, by their base names: no name in the archive can lead elsewhere. Two
// files of one name, links and devices are refused.
func unpack(archive []byte, dir string) error {
	zr, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return fmt.Errorf("llama: unpack: %w", err)
	}
	tr := tar.NewReader(io.LimitReader(zr, maxBytes))
	written := 0
	for n := 0; ; n++ {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("llama: unpack: %w", err)
		}
		if n >= maxFiles {
			return fmt.Errorf("llama: unpack: more than %d files", maxFiles)
		}
		if h.Typeflag == tar.TypeDir {
			continue
		}
		name, ok := libraryName(h.Name)
		if !ok {
			continue
		}
		if h.Typeflag != tar.TypeReg {
			return fmt.Errorf("llama: unpack: %q is no regular file", h.Name)
		}
		if err := writeFile(filepath.Join(dir, name), tr); err != nil {
			return err
		}
		written++
	}
	if written == 0 {
		return errors.New("llama: unpack: no library in the archive")
	}
	return nil
}

// libraryName returns the base name of a file to unpack, the package's licence
// among them.
func libraryName(name string) (string, bool) {
	base := path.Base(name)
	inBins := strings.HasPrefix(name, "package/bins/") && strings.Contains(base, ".so") && strings.HasPrefix(base, "lib")
	if (!inBins && name != "package/LICENSE") || strings.ContainsAny(base, "\\\x00") {
		return "", false
	}
	return base, true
}

func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fmt.Errorf("llama: unpack: %w", err)
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("llama: unpack: %w", err)
	}
	return nil
}
