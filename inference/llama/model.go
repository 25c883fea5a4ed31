package llama

import (
	"context"
	"errors"
	"iter"

	"github.com/nitroseal/nitroseal/inference"
)

// Model is a loaded model. Its methods are safe for concurrent use.
type Model struct {
	info inference.Info
}

// Open loads the library and the model. It stops early when ctx ends.
func Open(ctx context.Context, opts Options) (*Model, error) {
	if _, err := opts.withDefaults(); err != nil {
		return nil, err
	}
	return nil, errors.Join(ctx.Err(), errors.ErrUnsupported)
}

// Generate implements inference.Model.
func (m *Model) Generate(ctx context.Context, req inference.Request) iter.Seq2[inference.Chunk, error] {
	return func(yield func(inference.Chunk, error) bool) {
		yield(inference.Chunk{}, inference.ErrClosed)
	}
}

// Tokenize implements inference.Model.
func (m *Model) Tokenize(ctx context.Context, text string) ([]inference.Token, error) {
	return nil, inference.ErrClosed
}

// Info implements inference.Model.
func (m *Model) Info() inference.Info { return m.info }

// Close implements inference.Model.
func (m *Model) Close() error { return nil }
