package envelope_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/nitroseal/nitroseal/envelope"
)

// openKMS wraps nothing: its ciphertexts are the plaintexts. It counts calls.
type openKMS struct {
	answers
	arn   string
	calls int
}

func (o *openKMS) Encrypt(_ context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	o.calls++
	return &kms.EncryptOutput{KeyId: &o.arn, CiphertextBlob: bytes.Clone(in.Plaintext)}, nil
}

func (o *openKMS) Decrypt(_ context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	o.calls++
	return &kms.DecryptOutput{KeyId: &o.arn, Plaintext: bytes.Clone(in.CiphertextBlob)}, nil
}

const streamARN = "arn:aws:kms:us-east-1:111122223333:key/1234abcd"

// streams returns a Client outside of enclaves, and options with which it opens
// what it seals in segments of 4 KiB.
func streams(t testing.TB) (*envelope.Client, envelope.StreamOptions) {
	t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: &openKMS{arn: streamARN}, KeyID: streamARN})
	if err != nil {
		t.Fatal(err)
	}
	return c, envelope.StreamOptions{SegmentSize: 4096, Workers: 3, Decrypt: c.DecryptUnattested}
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// readWays opens sealed in every way there is.
func readWays(c *envelope.Client, sealed []byte, opts envelope.StreamOptions) map[string]func() ([]byte, error) {
	ctx := context.Background()
	reader := func(src io.Reader, read func(*envelope.Reader) ([]byte, error)) ([]byte, error) {
		r, err := c.NewReader(ctx, src, request, opts)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return read(r)
	}
	readAll := func(r *envelope.Reader) ([]byte, error) { return io.ReadAll(struct{ io.Reader }{r}) }
	return map[string]func() ([]byte, error){
		"Open": func() ([]byte, error) { return c.Open(ctx, sealed, request, opts) },
		"Read": func() ([]byte, error) { return reader(bytes.NewReader(sealed), readAll) },
		"Read, half each time": func() ([]byte, error) {
			return reader(iotest.HalfReader(iotest.DataErrReader(bytes.NewReader(sealed))), readAll)
		},
		"WriteTo": func() ([]byte, error) {
			return reader(bytes.NewReader(sealed), func(r *envelope.Reader) ([]byte, error) {
				var b bytes.Buffer
				_, err := r.WriteTo(&b)
				return b.Bytes(), err
			})
		},
	}
}

// Sizes around the borders of segments: the first holds 4,040 bytes, the others
// 4,080.
var streamSizes = []int{0, 1, 4039, 4040, 4041, 8119, 8120, 8121, 40_000, 100_003}

func TestStreamRoundTrip(t *testing.T) {
	c, opts := streams(t)
	for _, size := range streamSizes {
		for _, workers := range []int{1, 4} {
			opts.Workers = workers
			plain := randomBytes(size)
			var sealed bytes.Buffer
			w, err := c.NewWriter(t.Context(), &sealed, request, opts)
			if err != nil {
				t.Fatal(err)
			}
			for rest := plain; len(rest) > 0; {
				n := min(len(rest), 1777)
				if _, err := w.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			for name, read := range readWays(c, sealed.Bytes(), opts) {
				if got, err := read(); err != nil || !bytes.Equal(got, plain) {
					t.Errorf("%d bytes, %s: %d bytes, %v", size, name, len(got), err)
				}
			}
			small, err := c.Seal(t.Context(), plain, request, opts)
			if err != nil || len(small) != sealed.Len() {
				t.Errorf("%d bytes: Seal gives %d bytes, a Writer %d, %v", size, len(small), sealed.Len(), err)
			}
			if got, err := c.Open(t.Context(), small, request, opts); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes from Seal: %v", size, err)
			}
		}
	}
}

func TestStreamLargeSegments(t *testing.T) {
	c, opts := streams(t)
	opts.SegmentSize = 0
	plain := randomBytes(5<<20 + 17)
	sealed, err := c.Seal(t.Context(), plain, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	for name, read := range readWays(c, sealed, opts) {
		if got, err := read(); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestStreamReaderAt(t *testing.T) {
	c, opts := streams(t)
	for _, size := range streamSizes {
		plain := randomBytes(size)
		sealed, err := c.Seal(t.Context(), plain, request, opts)
		if err != nil {
			t.Fatal(err)
		}
		r, err := c.NewReaderAt(t.Context(), bytes.NewReader(sealed), int64(len(sealed)), request, opts)
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.NewReader(plain)
		if r.Size() != want.Size() {
			t.Fatalf("%d bytes: Size is %d", size, r.Size())
		}
		for off := int64(0); off <= int64(size)+2; off += 1 + int64(size)/97 {
			for _, n := range []int{0, 1, 100, 4080, 9000, size} {
				a, b := make([]byte, n), make([]byte, n)
				gotN, gotErr := r.ReadAt(a, off)
				wantN, wantErr := 0, error(nil)
				if n > 0 {
					wantN, wantErr = want.ReadAt(b, off)
				}
				if gotN != wantN || (gotErr != wantErr) || !bytes.Equal(a, b) {
					t.Fatalf("%d bytes, %d at %d: %d, %v; want %d, %v", size, n, off, gotN, gotErr, wantN, wantErr)
				}
			}
		}
		if _, err := r.ReadAt(make([]byte, 1), -1); err == nil {
			t.Error("a negative offset")
		}
		// Many at the same time.
		done := make(chan error)
		for i := range 8 {
			go func() {
				b := make([]byte, size-i*size/8)
				_, err := r.ReadAt(b, int64(i*size/8))
				if err == nil && !bytes.Equal(b, plain[i*size/8:]) {
					err = errors.New("other bytes")
				}
				done <- err
			}()
		}
		for range 8 {
			if err := <-done; err != nil && size > 0 {
				t.Error(err)
			}
		}
		r.Close()
		if n, err := r.ReadAt(make([]byte, 1), 0); size > 0 && (n != 0 || !errors.Is(err, fs.ErrClosed)) {
			t.Errorf("after Close: %d, %v", n, err)
		}
	}
}

func TestStreamWithKMS(t *testing.T) {
	api, arn, r, stop, err := setup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	ctx := t.Context()
	outside := newClient(t, envelope.Options{KMS: api, KeyID: arn})
	inside := newClient(t, envelope.Options{KMS: api, KeyID: arn, Recipient: r})
	var opts envelope.StreamOptions
	sealed, err := outside.Seal(ctx, []byte("weights"), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := inside.Open(ctx, sealed, request, opts); err != nil || string(got) != "weights" {
		t.Errorf("%q, %v", got, err)
	}
	h, err := envelope.ReadStreamHeader(bytes.NewReader(sealed))
	if err != nil || h.KeyID != arn || h.Context["direction"] != "request" || h.SegmentSize != 1<<20 {
		t.Errorf("%+v, %v", h, err)
	}
	otherKey := newClient(t, envelope.Options{KMS: api, KeyID: strings.Replace(arn, "key/", "key/0", 1), Recipient: r})
	foreign, err := outside.Seal(ctx, []byte("weights"), envelope.EncryptionContext{"direction": "response"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	// The header claims the context that is asked for, but the key is not
	// wrapped under it.
	claims := bytes.Replace(foreign, []byte("hresponse"), []byte("grequest"), 1)
	claims[11]--
	for name, tt := range map[string]struct {
		c      *envelope.Client
		sealed []byte
		ec     envelope.EncryptionContext
		want   error // nil: a *KMSError
	}{
		"no recipient":        {outside, sealed, request, envelope.ErrNoRecipient},
		"another key":         {otherKey, sealed, request, envelope.ErrKeyMismatch},
		"another context":     {inside, sealed, envelope.EncryptionContext{"direction": "response"}, envelope.ErrContextMismatch},
		"more context":        {inside, sealed, envelope.EncryptionContext{"direction": "request", "a": "b"}, envelope.ErrContextMismatch},
		"no context":          {inside, sealed, nil, envelope.ErrNoContext},
		"a context it claims": {inside, claims, request, nil},
	} {
		got, err := tt.c.Open(ctx, tt.sealed, tt.ec, opts)
		if failed := (*envelope.KMSError)(nil); got != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && !errors.As(err, &failed) {
			t.Errorf("%s: Open: %q, %v", name, got, err)
		}
		rd, err := tt.c.NewReader(ctx, bytes.NewReader(tt.sealed), tt.ec, opts)
		if rd != nil || err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: NewReader: %v", name, err)
		}
	}
	opts.Decrypt = outside.DecryptUnattested
	if _, err := outside.Open(ctx, sealed, request, opts); !errors.Is(err, envelope.ErrDenied) {
		t.Errorf("without attestation: %v", err)
	}
}

func TestStreamDataKey(t *testing.T) {
	c, opts := streams(t)
	sealed, err := c.Seal(t.Context(), []byte("x"), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	key := randomBytes(32)
	for _, n := range []int{0, 31, 32} { // 32: another key
		b := bytes.Clone(key[:n])
		opts.Decrypt = func(context.Context, []byte, envelope.EncryptionContext) ([]byte, error) { return b, nil }
		if _, err := c.Open(t.Context(), sealed, request, opts); !errors.Is(err, envelope.ErrStream) {
			t.Errorf("a key of %d bytes: %v", n, err)
		}
		if !bytes.Equal(b, make([]byte, n)) {
			t.Errorf("the key of %d bytes was not cleared", n)
		}
	}
}

// 64 MiB go through a Writer and a Reader, which allocate their segments once.
func TestStreamConstantMemory(t *testing.T) {
	c, opts := streams(t)
	opts.SegmentSize, opts.Workers = 1<<20, 2
	const size = 64 << 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	pr, pw := io.Pipe()
	go func() {
		w, err := c.NewWriter(t.Context(), pw, request, opts)
		if err == nil {
			if _, err = io.CopyN(w, zeros{}, size); err == nil {
				err = w.Close()
			}
		}
		pw.CloseWithError(err)
	}()
	r, err := c.NewReader(t.Context(), pr, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); n != size || err != nil {
		t.Fatal(n, err)
	}
	runtime.ReadMemStats(&after)
	// 2×Workers+3 segments to seal and as many to open are 14 MiB.
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("%d bytes were allocated for %d", got, size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func ExampleClient_NewWriter() {
	ctx := context.Background()
	api, keyARN, recipient, stop, err := setup(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer stop()
	ec := envelope.EncryptionContext{"file": "model.gguf"}

	// Outside, with kms:Encrypt only.
	outside, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: keyARN})
	if err != nil {
		log.Fatal(err)
	}
	var file bytes.Buffer
	w, err := outside.NewWriter(ctx, &file, ec, envelope.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer w.Abort()
	if _, err := io.Copy(w, strings.NewReader(strings.Repeat("weights ", 1<<18))); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}

	// In the enclave.
	inside, err := envelope.NewClient(envelope.Options{KMS: api, KeyID: keyARN, Recipient: recipient})
	if err != nil {
		log.Fatal(err)
	}
	r, err := inside.NewReader(ctx, &file, ec, envelope.StreamOptions{})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	n, err := io.Copy(io.Discard, r)
	fmt.Println(n, err)
	// Output: 2097152 <nil>
}
