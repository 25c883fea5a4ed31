//go:build !((linux || darwin) && (amd64 || arm64))

package native

import (
	"errors"
	"fmt"
	"runtime"
)

// Load is not possible on this platform.
func Load(string) (*Lib, error) {
	return nil, fmt.Errorf("llama: %s/%s: %w", runtime.GOOS, runtime.GOARCH, errors.ErrUnsupported)
}

func progressCallback() uintptr { return 0 }
