package envelope

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"maps"
	"runtime"
)

// StreamOptions configures sealed streams: Writer, Reader and ReaderAt.
type StreamOptions struct {
	// SegmentSize is how much a Writer encrypts at a time, in bytes: 1 MiB, or
	// 4 KiB for many small reads at random places. 0 means 1 MiB. A Reader
	// finds it in the header.
	SegmentSize int
	// Workers is how many cores are kept at work: twice as many segments and
	// two more are under way at a time, so that none waits for the next. 0
	// means runtime.GOMAXPROCS(0).
	Workers int
	// Decrypt unwraps the data key for a reader. nil means the Client's own
	// Decrypt, which is attested. Outside of enclaves give DecryptUnattested.
	Decrypt func(ctx context.Context, ciphertext []byte, ec EncryptionContext) ([]byte, error)
}

func (o StreamOptions) withDefaults() (StreamOptions, error) {
	switch o.SegmentSize {
	case 0:
		o.SegmentSize = segment1MB
	case segment4KB, segment1MB:
	default:
		return StreamOptions{}, errors.New("envelope: SegmentSize must be 1 MiB or 4 KiB")
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	return o, nil
}

// NewWriter begins a sealed stream on w (FORMAT.md), for data of any size: the
// data is encrypted here under a fresh data key, and KMS encrypts only that
// key. The principal needs no more than kms:Encrypt, so that somebody outside
// can seal what only an attested enclave opens. ctx is for the call to KMS.
//
// Whoever may encrypt under the KMS key with ec can make such a stream: that
// one opens does not say who wrote it.
//
// The stream is complete when Close has returned nil. Errors are those of
// Encrypt and of w; ErrTooLarge also if ec is too large for a header.
func (c *Client) NewWriter(ctx context.Context, w io.Writer, ec EncryptionContext, opts StreamOptions) (*Writer, error) {
	return c.newStreamWriter(ctx, w, ec, opts, -1)
}

func (c *Client) newStreamWriter(ctx context.Context, w io.Writer, ec EncryptionContext, opts StreamOptions, room int) (*Writer, error) {
	if w == nil {
		return nil, errors.New("envelope: sealed stream: nothing to write to")
	}
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	ec = maps.Clone(ec)
	var key [contentKeySize]byte
	defer clear(key[:])
	rand.Read(key[:])
	wrapped, err := c.Encrypt(ctx, key[:], ec)
	if err != nil {
		return nil, err
	}
	header, err := marshalStreamHeader(StreamHeader{
		KeyID: c.opts.KeyID, WrappedKey: wrapped, Context: ec, SegmentSize: opts.SegmentSize,
	})
	if err != nil {
		return nil, err
	}
	body := [bodyHeaderSize]byte{bodyHeaderSize}
	rand.Read(body[1:])
	return newWriter(w, key[:], header, body, opts.SegmentSize, opts.Workers, room)
}

// NewReader opens a sealed stream, which must be under the Client's KMS key and
// under exactly ec. ctx is for the call to KMS. Errors are those of Decrypt,
// ErrStream, ErrContextMismatch, ErrKeyMismatch and those of r.
func (c *Client) NewReader(ctx context.Context, r io.Reader, ec EncryptionContext, opts StreamOptions) (*Reader, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	h, raw, err := readStreamHeader(r)
	if err != nil {
		return nil, err
	}
	key, err := c.streamKey(ctx, h, ec, opts)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newReader(r, key, raw, h.SegmentSize, opts.Workers)
}

// NewReaderAt opens a sealed stream of size bytes for reads at any place, and
// checks its end, so that a stream that was cut short is refused at once. ctx
// is for the call to KMS. Errors are those of NewReader.
func (c *Client) NewReaderAt(ctx context.Context, r io.ReaderAt, size int64, ec EncryptionContext, opts StreamOptions) (*ReaderAt, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	if r == nil {
		return nil, errNoReader
	}
	h, raw, err := readStreamHeader(io.NewSectionReader(r, 0, max(0, size)))
	if err != nil {
		return nil, err
	}
	key, err := c.streamKey(ctx, h, ec, opts)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return newReaderAt(r, size, key, raw, h.SegmentSize, opts.Workers)
}

// Seal seals data that is in memory, as NewWriter does. There is no limit of
// 4,096 bytes, and KMS does not see the data. Empty data can be sealed.
func (c *Client) Seal(ctx context.Context, plaintext []byte, ec EncryptionContext, opts StreamOptions) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := c.newStreamWriter(ctx, &sealed, ec, opts, len(plaintext))
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if _, err := w.Write(plaintext); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return sealed.Bytes(), nil
}

// Open opens what Seal or a Writer made, as NewReaderAt does: all of it, or an
// error and nothing. The caller owns the result, and should clear it when done.
func (c *Client) Open(ctx context.Context, sealed []byte, ec EncryptionContext, opts StreamOptions) ([]byte, error) {
	r, err := c.NewReaderAt(ctx, bytes.NewReader(sealed), int64(len(sealed)), ec, opts)
	if err != nil {
		return nil, err
	}
	return readAll(r)
}

// streamKey checks the header against what the caller expects before KMS is
// asked, and has KMS unwrap the data key.
func (c *Client) streamKey(ctx context.Context, h StreamHeader, ec EncryptionContext, opts StreamOptions) ([]byte, error) {
	if err := c.checkContext(ec); err != nil {
		return nil, err
	}
	if err := checkStreamHeader(h, c.opts.KeyID, ec); err != nil {
		return nil, err
	}
	decrypt := opts.Decrypt
	if decrypt == nil {
		decrypt = c.Decrypt
	}
	key, err := decrypt(ctx, h.WrappedKey, ec)
	if err != nil {
		clear(key)
		return nil, err
	}
	if len(key) != contentKeySize {
		clear(key)
		return nil, headerError("what KMS unwrapped is no data key")
	}
	return key, nil
}
