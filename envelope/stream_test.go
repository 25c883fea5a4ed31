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

// damage lists changed forms of a sealed stream of several segments.
func damage(sealed, other []byte) map[string][]byte {
	body := bytes.LastIndex(sealed[:1000], []byte{0x06, 0x19, 0x10, 0x00}) + 4 // the header ends with its segment size
	seg := func(i int) []byte { return sealed[min(body+i*4096, len(sealed)):min(body+(i+1)*4096, len(sealed))] }
	first := seg(0)
	join := func(parts ...[]byte) []byte { return bytes.Join(append([][]byte{sealed[:body]}, parts...), nil) }
	bad := map[string][]byte{
		"reordered":              join(first, seg(2), seg(1), seg(3), seg(4)),
		"first two swapped":      join(first[:40], seg(1)[:4056], first[40:], seg(1)[4056:], seg(2), seg(3), seg(4)),
		"dropped":                join(first, seg(2), seg(3), seg(4)),
		"duplicated":             join(first, seg(1), seg(1), seg(2), seg(3), seg(4)),
		"last first":             join(first[:40], seg(4)),
		"last one duplicated":    join(first, seg(1), seg(2), seg(3), seg(4), seg(4)),
		"a byte more":            append(bytes.Clone(sealed), 0),
		"16 bytes more":          append(bytes.Clone(sealed), make([]byte, 16)...),
		"another one behind":     append(bytes.Clone(sealed), other...),
		"header of another":      append(bytes.Clone(other[:body]), sealed[body:]...),
		"body of another":        append(bytes.Clone(sealed[:body]), other[body:]...),
		"salt of another":        append(append(bytes.Clone(sealed[:body]), other[body:body+40]...), sealed[body+40:]...),
		"segment of another":     join(first, other[body+4096:body+2*4096], seg(2), seg(3), seg(4)),
		"nothing":                nil,
		"not a stream":           []byte("not a sealed stream, but long enough to be looked at"),
		"body header length 41":  join([]byte{41}, sealed[body+1:]),
		"cut in the magic":       sealed[:3],
		"cut in the length":      sealed[:10],
		"cut in the header":      sealed[:body-1],
		"cut behind the header":  sealed[:body],
		"cut in the salt":        sealed[:body+20],
		"cut behind the salt":    sealed[:body+40],
		"cut in the first tag":   sealed[:body+50],
		"first segment only tag": sealed[:body+56],
	}
	for i := 1; i < 5; i++ {
		for _, d := range []int{-17, -16, -1, 0, 1, 15, 16, 17} {
			bad[fmt.Sprintf("cut at segment %d%+d", i, d)] = sealed[:body+i*4096+d]
		}
	}
	bad["cut by one byte"] = sealed[:len(sealed)-1]
	for at := 0; at < len(sealed); at += 1 + at/40 {
		b := bytes.Clone(sealed)
		b[at] ^= 0x20
		bad[fmt.Sprintf("byte %d changed", at)] = b
	}
	return bad
}

func TestStreamRefusesDamage(t *testing.T) {
	c, opts := streams(t)
	plain := randomBytes(4040 + 3*4080 + 1000)
	sealed, err := c.Seal(t.Context(), plain, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	other, err := c.Seal(t.Context(), plain, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	bad := damage(sealed, other)
	if len(bad) < 200 {
		t.Fatalf("only %d cases", len(bad))
	}
	for name, b := range bad {
		for way, read := range readWays(c, b, opts) {
			got, err := read()
			if !errors.Is(err, envelope.ErrStream) && !errors.Is(err, envelope.ErrKeyMismatch) && !errors.Is(err, envelope.ErrContextMismatch) {
				t.Errorf("%s, %s: %v", name, way, err)
			}
			if !bytes.HasPrefix(plain, got) || way == "Open" && got != nil {
				t.Errorf("%s, %s: released what is not authentic", name, way)
			}
			// Whole segments only: plaintext up to the first damage.
			if n := len(got); n != 0 && (n < 4040 || (n-4040)%4080 != 0) {
				t.Errorf("%s, %s: released %d bytes", name, way, n)
			}
		}
	}
}

// A ReaderAt whose source is changed, or fails, after it was opened.
func TestStreamReaderAtDamage(t *testing.T) {
	c, opts := streams(t)
	plain := randomBytes(30_000)
	sealed, err := c.Seal(t.Context(), plain, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.NewReaderAt(t.Context(), bytes.NewReader(sealed), int64(len(sealed)), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	sealed[12_000] ^= 1 // in the third segment
	for _, tt := range []struct{ off, n int }{{0, 30_000}, {9000, 10}, {100, 9000}} {
		p := bytes.Repeat([]byte{7}, tt.n)
		n, err := r.ReadAt(p, int64(tt.off))
		var at *envelope.StreamError
		if n != 0 || !errors.As(err, &at) || at.Segment != 2 || !bytes.Equal(p, make([]byte, tt.n)) {
			t.Errorf("%d at %d: %d, %v", tt.n, tt.off, n, err)
		}
	}
	p := make([]byte, 8000)
	if n, err := r.ReadAt(p, 20_000); n != 8000 || err != nil || !bytes.Equal(p, plain[20_000:28_000]) {
		t.Errorf("the rest: %d, %v", n, err)
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

func TestStreamWriterRefuses(t *testing.T) {
	c, opts := streams(t)
	ctx := t.Context()
	large := envelope.EncryptionContext{"a": strings.Repeat("x", 33<<10)}
	many := envelope.EncryptionContext{}
	for i := range 129 {
		many[fmt.Sprint(i)] = ""
	}
	for name, tt := range map[string]struct {
		ec   envelope.EncryptionContext
		size int
		want error // nil: any
	}{
		"no context":     {nil, 0, envelope.ErrNoContext},
		"large context":  {large, 0, envelope.ErrTooLarge},
		"many pairs":     {many, 0, envelope.ErrTooLarge},
		"not UTF-8":      {envelope.EncryptionContext{"a": "\xff"}, 0, nil},
		"5 KiB segments": {request, 5 << 10, nil},
	} {
		var out bytes.Buffer
		_, err := c.NewWriter(ctx, &out, tt.ec, envelope.StreamOptions{SegmentSize: tt.size})
		if err == nil || tt.want != nil && !errors.Is(err, tt.want) || out.Len() != 0 {
			t.Errorf("%s: %v, %d bytes written", name, err, out.Len())
		}
	}

	// A destination that fails after some bytes.
	broken := errors.New("disk full")
	for _, after := range []int{0, 100, 5000, 20_000, 40_000} {
		w, err := c.NewWriter(ctx, &failing{after, broken}, request, opts)
		if err == nil {
			_, err = w.Write(make([]byte, 40_000))
			if closed := w.Close(); err == nil {
				err = closed
			}
		}
		if !errors.Is(err, broken) {
			t.Errorf("after %d bytes: %v", after, err)
		}
	}

	var out bytes.Buffer
	w, err := c.NewWriter(ctx, &out, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(make([]byte, 10_000))
	w.Abort()
	if _, err := w.Write([]byte{1}); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Write after Abort: %v", err)
	}
	if err := w.Close(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Close after Abort: %v", err)
	}
	if _, err := c.Open(ctx, out.Bytes(), request, opts); !errors.Is(err, envelope.ErrStream) {
		t.Errorf("what was aborted: %v", err)
	}
}

type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, f.err
	}
	return len(p), nil
}

func TestStreamSourceFails(t *testing.T) {
	c, opts := streams(t)
	plain := randomBytes(30_000)
	sealed, err := c.Seal(t.Context(), plain, request, opts)
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("connection reset")
	for _, after := range []int{0, 5, 50, 5000, 9000, len(sealed)} {
		r, err := c.NewReader(t.Context(), io.MultiReader(bytes.NewReader(sealed[:after]), iotest.ErrReader(broken)), request, opts)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(struct{ io.Reader }{r})
		}
		if !errors.Is(err, broken) || !bytes.HasPrefix(plain, got) || len(got) == len(plain) {
			t.Errorf("after %d bytes: %d, %v", after, len(got), err)
		}
	}
	r, err := c.NewReader(t.Context(), bytes.NewReader(sealed), request, opts)
	if err != nil {
		t.Fatal(err)
	}
	r.Read(make([]byte, 10))
	r.Close()
	if n, err := r.Read(make([]byte, 10)); n != 0 || !errors.Is(err, fs.ErrClosed) {
		t.Errorf("after Close: %d, %v", n, err)
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
	// Workers+2 segments to seal and as many to open are 8 MiB.
	if got := after.TotalAlloc - before.TotalAlloc; got > 10<<20 {
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
