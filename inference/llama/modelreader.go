package llama

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
)

// ErrModelTooLarge means that a ModelReader has more than
// Options.MaxModelBytes.
var ErrModelTooLarge = errors.New("llama: the model is larger than Options.MaxModelBytes")

const (
	// readSize is how much of a model is read, hashed and copied at a time.
	readSize = 1 << 20
	// maxEmptyReads is how often in a row a reader may return nothing, and no
	// error, until it counts as stuck.
	maxEmptyReads = 100
	// fallbackModelLimit is the default limit where the kernel does not tell
	// how much memory there is.
	fallbackModelLimit = 16 << 30
)

// defaultModelLimit leaves an eighth of the available memory for everything
// else.
func defaultModelLimit() int64 {
	if n := availableMemory(); n > 0 {
		return n - n/8
	}
	return fallbackModelLimit
}

// readModel copies in to out and hashes it, to its end or until ctx ends. It
// reads one byte more than limit allows at most. It trusts in with nothing: not
// to end, to give anything, or to count right.
func readModel(ctx context.Context, in io.Reader, limit int64, out io.Writer, sums []hash.Hash) error {
	buf := make([]byte, readSize)
	defer clear(buf) // a sealed model is secret
	var done int64
	empty := 0
	for {
		if err := ctx.Err(); err != nil {
			return modelError(err)
		}
		p := buf
		if rest := limit - done; rest < int64(len(p)) {
			p = p[:rest+1]
		}
		n, err := in.Read(p)
		if n < 0 || n > len(p) {
			return fmt.Errorf("llama: model: the reader says it read %d bytes of %d", n, len(p))
		}
		if done += int64(n); done > limit {
			return fmt.Errorf("%w (%d)", ErrModelTooLarge, limit)
		}
		// A Hash's Write never returns an error.
		for _, h := range sums {
			h.Write(p[:n])
		}
		if _, err := out.Write(p[:n]); err != nil {
			return modelError(err)
		}
		switch {
		case err == io.EOF && done == 0:
			return errors.New("llama: model: it is empty")
		case err == io.EOF:
			return nil
		case err != nil:
			return modelError(err)
		case n > 0:
			empty = 0
		default:
			if empty++; empty == maxEmptyReads {
				return modelError(io.ErrNoProgress)
			}
		}
	}
}

func modelError(err error) error { return fmt.Errorf("llama: model: %w", err) }
