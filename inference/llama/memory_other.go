//go:build !linux

package llama

import (
	"errors"
	"fmt"
	"os"
)

const haveMemory = false

func newMemory() (*os.File, error) {
	return nil, fmt.Errorf("llama: Options.Model and Options.ModelReader need Linux, which has memory to seal: %w", errors.ErrUnsupported)
}

func sealMemory(*os.File) (string, error) {
	return "", errors.ErrUnsupported
}

func availableMemory() int64 { return 0 }
