//go:build !linux

package llama

import (
	"errors"
	"fmt"
	"os"
)

const haveMemory = false

func newMemory() (*os.File, error) {
	return nil, fmt.Errorf("llama: Options.Model needs Linux: %w", errors.ErrUnsupported)
}

func sealMemory(*os.File) (string, error) {
	return "", errors.ErrUnsupported
}
