package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// writeWhole has write fill a file under another name, and renames it when it
// is whole; a file that was there is replaced, and a failure leaves it as it
// was.
func writeWhole(path string, mode fs.FileMode, write func(*os.File) error) (err error) {
	out, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(out.Name())
		}
	}()
	if err = write(out); err == nil {
		err = errors.Join(out.Chmod(mode), out.Sync())
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(out.Name(), path)
}

// writeOut writes data to standard output, or to a file if path names one.
func writeOut(path string, data []byte, stdout io.Writer) error {
	if path == "" {
		_, err := stdout.Write(data)
		return err
	}
	return writeWhole(path, 0o644, func(f *os.File) error {
		_, err := f.Write(data)
		return err
	})
}

// readInput reads a file of at most limit bytes, or in for "-".
func readInput(path string, in io.Reader, limit int64) ([]byte, error) {
	if path != "-" {
		return readLimited(path, limit)
	}
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err == nil && int64(len(data)) > limit {
		return nil, fmt.Errorf("standard input is larger than %d bytes", limit)
	}
	return data, err
}
