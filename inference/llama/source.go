package llama

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"os"
	"strings"
)

// ErrDigest means that the model is not the one that Options.Digest names.
var ErrDigest = errors.New("llama: the model does not have the expected digest")

// A source is a model file that libllama can open by path.
type source struct {
	path   string
	digest string   // SHA-256, hexadecimal
	memory *os.File // the sealed memory that path names, or nil
}

// close releases the memory; libllama keeps its own mapping of it.
func (s *source) close() error {
	if s.memory == nil {
		return nil
	}
	return s.memory.Close()
}

// checkSource checks the options about the model.
func (o *Options) checkSource() error {
	given := 0
	for _, is := range []bool{o.ModelPath != "", o.Model != nil, o.ModelReader != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New("llama: set exactly one of ModelPath, Model and ModelReader")
	case strings.ContainsRune(o.ModelPath, 0):
		return errors.New("llama: ModelPath holds a NUL")
	case o.MaxModelBytes < 0:
		return fmt.Errorf("llama: MaxModelBytes %d is negative", o.MaxModelBytes)
	case o.MaxModelBytes != 0 && o.ModelReader == nil:
		return errors.New("llama: MaxModelBytes is for a ModelReader")
	case o.Repack < RepackAuto || o.Repack > RepackNever:
		return fmt.Errorf("llama: Repack %d is none of its values", o.Repack)
	}
	return nil
}

// openSource hashes the model and checks its digest. What has a digest to
// meet, and what is no file, is copied into sealed memory while it is hashed,
// so that nobody can change it between the check and its use.
func openSource(ctx context.Context, opts Options) (_ *source, err error) {
	want, err := parseDigest(opts.Digest)
	if err != nil {
		return nil, err
	}
	s := &source{path: opts.ModelPath}
	opened := false
	defer func() {
		// Also when a reader of the caller's panics.
		if !opened {
			err = errors.Join(err, s.close())
		}
	}()
	var in io.Reader
	limit := int64(math.MaxInt64)
	switch {
	case opts.ModelReader != nil:
		in = opts.ModelReader
		if limit = opts.MaxModelBytes; limit == 0 {
			limit = defaultModelLimit()
		}
	case opts.ModelPath != "":
		f, err := os.Open(opts.ModelPath)
		if err != nil {
			return nil, fmt.Errorf("llama: model: %w", err)
		}
		defer f.Close()
		in = f
	default:
		in = bytes.NewReader(opts.Model)
	}
	var out io.Writer = io.Discard
	if opts.ModelPath == "" || want != nil && haveMemory {
		if s.memory, err = newMemory(); err != nil {
			return nil, err
		}
		out = s.memory
	}
	sum256 := sha256.New()
	sums := []hash.Hash{sum256}
	if len(want) == sha512.Size384 {
		sums = append(sums, sha512.New384())
	}
	if err := readModel(ctx, in, limit, out, sums); err != nil {
		return nil, err
	}
	got := sums[len(sums)-1].Sum(nil)
	if want != nil && subtle.ConstantTimeCompare(got, want) != 1 {
		return nil, fmt.Errorf("%w: found %x", ErrDigest, got)
	}
	s.digest = hex.EncodeToString(sum256.Sum(nil))
	if s.memory != nil {
		if s.path, err = sealMemory(s.memory); err != nil {
			return nil, err
		}
	}
	opened = true
	return s, nil
}

// parseDigest returns the bytes of a SHA-256 or SHA-384, or nil for "".
func parseDigest(s string) ([]byte, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != sha256.Size && len(b) != sha512.Size384 {
		return nil, errors.New("llama: Digest is no SHA-256 or SHA-384 in hexadecimal")
	}
	return b, nil
}
