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
	"io"
	"os"
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

// openSource hashes the model and checks its digest. What has a digest to
// meet is copied into sealed memory while it is hashed, so that nobody can
// change it between the check and its use.
func openSource(ctx context.Context, opts Options) (*source, error) {
	want, err := parseDigest(opts.Digest)
	if err != nil {
		return nil, err
	}
	var in io.Reader = bytes.NewReader(opts.Model)
	if opts.ModelPath != "" {
		f, err := os.Open(opts.ModelPath)
		if err != nil {
			return nil, fmt.Errorf("llama: model: %w", err)
		}
		defer f.Close()
		in = f
	}
	s := &source{path: opts.ModelPath}
	var copyTo io.Writer = io.Discard
	if opts.Model != nil || want != nil && haveMemory {
		if s.memory, err = newMemory(); err != nil {
			return nil, err
		}
		copyTo = s.memory
	}
	sum256, sum384 := sha256.New(), sha512.New384()
	hashes := []io.Writer{copyTo, sum256}
	if len(want) == sha512.Size384 {
		hashes = append(hashes, sum384)
	}
	_, err = io.CopyBuffer(io.MultiWriter(hashes...), ctxReader{ctx, in}, make([]byte, 1<<20))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("llama: model: %w", err), s.close())
	}
	got := sum256.Sum(nil)
	s.digest = hex.EncodeToString(got)
	if len(want) == sha512.Size384 {
		got = sum384.Sum(nil)
	}
	if want != nil && subtle.ConstantTimeCompare(got, want) != 1 {
		return nil, errors.Join(fmt.Errorf("%w: found %x", ErrDigest, got), s.close())
	}
	if s.memory != nil {
		if s.path, err = sealMemory(s.memory); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
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

// ctxReader ends a copy when ctx ends. It hides the methods that io.Copy
// would use to read everything at once.
type ctxReader struct {
	ctx context.Context
	r   io.Reader
}

func (c ctxReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
