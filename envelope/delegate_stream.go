package envelope

import (
	"bytes"
	"context"
	"io"
)

// SignOpen signs the one request that lets an enclave open one sealed stream
// (Seal, NewWriter): KMS Decrypt of the stream's data key. KMS sees the key,
// never the data. See SignDecrypt; further errors are ErrStream,
// ErrContextMismatch and ErrKeyMismatch.
func SignOpen(ctx context.Context, opts SignOptions, sealed []byte, ec EncryptionContext, document []byte) (*SignedRequest, error) {
	h, _, err := readStreamHeader(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	if err := checkStreamHeader(h, opts.KeyID, ec); err != nil {
		return nil, err
	}
	return SignDecrypt(ctx, opts, h.WrappedKey, ec, document)
}

// Open opens a sealed stream in memory with a request of SignOpen: all of it,
// or an error and nothing. The stream must be under the Courier's key and
// exactly this encryption context, and the request for the stream's data key.
// The caller owns the result, and should clear it when done.
//
// Errors: those of Decrypt, ErrStream and ErrContextMismatch.
func (c *Courier) Open(ctx context.Context, req *SignedRequest, sealed []byte, ec EncryptionContext) ([]byte, error) {
	h, raw, err := readStreamHeader(bytes.NewReader(sealed))
	if err != nil {
		return nil, err
	}
	if err := checkStreamHeader(h, c.opts.KeyID, ec); err != nil {
		return nil, err
	}
	body, err := c.check(req, targetDecrypt, ec)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(body.CiphertextBlob, h.WrappedKey) {
		return nil, ErrNotDelegated
	}
	key, err := c.Decrypt(ctx, req, ec)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	if len(key) != contentKeySize {
		return nil, headerError("what KMS unwrapped is no data key")
	}
	r, err := newReaderAt(bytes.NewReader(sealed), int64(len(sealed)), key, raw, h.SegmentSize, 1)
	if err != nil {
		return nil, err
	}
	return readAll(r)
}

// checkStreamHeader holds a stream's header against what its reader expects.
func checkStreamHeader(h StreamHeader, keyID string, ec EncryptionContext) error {
	if h.KeyID != keyID {
		return ErrKeyMismatch
	}
	if !sameContext(h.Context, ec) {
		return ErrContextMismatch
	}
	return nil
}

// readAll returns all of r, which it closes.
func readAll(r *ReaderAt) ([]byte, error) {
	defer r.Close()
	plaintext := make([]byte, r.Size())
	if _, err := r.ReadAt(plaintext, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return plaintext, nil
}
