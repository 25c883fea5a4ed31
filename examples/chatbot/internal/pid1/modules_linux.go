package pid1

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// loadModules loads the modules of a folder in the order of their names. Those
// that are loaded already, or built in, are as good; no folder means none.
func loadModules(dir string, load func(*os.File) error) error {
	files, err := os.ReadDir(dir) // sorted
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := loadFile(filepath.Join(dir, file.Name()), load); err != nil {
			return fmt.Errorf("%s: %w", file.Name(), err)
		}
	}
	return nil
}

func loadFile(name string, load func(*os.File) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := load(f); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

func finitModule(f *os.File) error { return unix.FinitModule(int(f.Fd()), "", 0) }
