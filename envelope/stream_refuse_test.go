package envelope_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nitroseal/nitroseal/envelope"
)

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
