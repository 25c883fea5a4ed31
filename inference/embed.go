package inference

import "context"

// Embedder is a Model that can also turn texts into vectors. Implementations
// are safe for concurrent use.
type Embedder interface {
	// Embed returns a vector of unit length for each text, all of the same
	// dimension. The errors are those of Model.Generate; ErrPromptTooLong if
	// one text has more tokens than the model takes at once. There is no
	// result beside an error.
	Embed(ctx context.Context, texts []string) ([][]float32, error)
}
