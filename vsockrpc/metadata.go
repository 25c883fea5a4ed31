package vsockrpc

import (
	"context"
	"unicode/utf8"
)

// Metadata goes along with a call: at most 64 pairs of UTF-8 text, keys of 1
// to 255 bytes, values of at most 4,096, and 16 KiB in all. It is not secret.
type Metadata map[string]string

type metadataKey struct{}

// WithMetadata returns a context whose calls carry md. It replaces what ctx
// carried.
func WithMetadata(ctx context.Context, md Metadata) context.Context {
	return context.WithValue(ctx, metadataKey{}, md)
}

// MetadataFrom returns what a handler's call carries, or what calls with ctx
// will carry. Callers must not change it.
func MetadataFrom(ctx context.Context) Metadata {
	md, _ := ctx.Value(metadataKey{}).(Metadata)
	return md
}

func (md Metadata) check() error {
	total := 0
	for k, v := range md {
		total += len(k) + len(v)
		if k == "" || len(k) > 255 || len(v) > 4096 || !utf8.ValidString(k) || !utf8.ValidString(v) {
			return errorf(InvalidArgument, "metadata key or value of a size or form that is not allowed")
		}
	}
	if len(md) > maxMetadata || total > 16<<10 {
		return errorf(InvalidArgument, "too much metadata")
	}
	return nil
}
