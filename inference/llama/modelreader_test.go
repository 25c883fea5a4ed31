package llama

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math"
	"testing"
	"testing/iotest"
)

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestReadModel(t *testing.T) {
	data := bytes.Repeat([]byte("model "), readSize/2) // three reads
	size := int64(len(data))
	fault := errors.New("fault")
	plain := func() io.Reader { return bytes.NewReader(data) }
	then := func(n int, err error) io.Reader {
		return io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(err))
	}
	counting := func(n int) io.Reader {
		return readerFunc(func([]byte) (int, error) { return n, nil })
	}
	pauses := 0
	pausing := plain()
	for name, tt := range map[string]struct {
		in    io.Reader
		limit int64
		want  error // nil: all of data; errAny: some error
	}{
		"plain":                     {plain(), math.MaxInt64, nil},
		"just small enough":         {plain(), size, nil},
		"one byte too large":        {plain(), size - 1, ErrModelTooLarge},
		"far too large":             {plain(), 1, ErrModelTooLarge},
		"endless":                   {counting(1), 4096, ErrModelTooLarge},
		"byte by byte":              {iotest.OneByteReader(bytes.NewReader(data[:5000])), 5000, errShort},
		"end with the data":         {iotest.DataErrReader(plain()), size, nil},
		"error at once":             {iotest.ErrReader(fault), size, fault},
		"error after some":          {then(100, fault), size, fault},
		"error at a border":         {then(readSize, fault), size, fault},
		"error in place of the end": {then(len(data), fault), size, fault},
		"error with data":           {iotest.DataErrReader(then(100, fault)), size, fault},
		"unexpected end":            {then(100, io.ErrUnexpectedEOF), size, io.ErrUnexpectedEOF},
		"nothing, for ever":         {counting(0), size, io.ErrNoProgress},
		"empty":                     {bytes.NewReader(nil), size, errAny},
		"negative count":            {counting(-1), size, errAny},
		"count too high":            {counting(readSize + 1), size, errAny},
		"pauses": {readerFunc(func(p []byte) (int, error) {
			if pauses++; pauses%maxEmptyReads != 0 {
				return 0, nil
			}
			return pausing.Read(p)
		}), size, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			sum := sha256.New()
			err := readModel(t.Context(), tt.in, tt.limit, &out, []hash.Hash{sum})
			switch tt.want {
			case nil:
				want := sha256.Sum256(data)
				if err != nil || !bytes.Equal(out.Bytes(), data) || !bytes.Equal(sum.Sum(nil), want[:]) {
					t.Errorf("%d bytes, error %v", out.Len(), err)
				}
			case errShort:
				if err != nil || !bytes.Equal(out.Bytes(), data[:out.Len()]) || int64(out.Len()) != tt.limit {
					t.Errorf("%d bytes, error %v", out.Len(), err)
				}
			case errAny:
				if err == nil {
					t.Error("no error")
				}
			default:
				if !errors.Is(err, tt.want) {
					t.Errorf("error %v", err)
				}
				if int64(out.Len()) > tt.limit {
					t.Errorf("%d bytes were kept, %d are allowed", out.Len(), tt.limit)
				}
			}
		})
	}
}

// What TestReadModel expects beside a certain error.
var (
	errAny   = errors.New("any")
	errShort = errors.New("no error, and as much as the limit")
)

func TestReadModelEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	in := readerFunc(func(p []byte) (int, error) {
		if reads++; reads == 3 {
			cancel()
		}
		return len(p), nil
	})
	if err := readModel(ctx, in, math.MaxInt64, io.Discard, nil); !errors.Is(err, context.Canceled) || reads != 3 {
		t.Errorf("%d reads, error %v", reads, err)
	}
	full := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	fault := errors.New("no space")
	if err := readModel(t.Context(), full, math.MaxInt64, writerFunc(func([]byte) (int, error) { return 0, fault }), nil); !errors.Is(err, fault) {
		t.Errorf("memory that is full: %v", err)
	}
}

type writerFunc func(p []byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestInPlace(t *testing.T) {
	reader := bytes.NewReader(nil)
	for _, tt := range []struct {
		opts Options
		want bool
	}{
		{Options{ModelPath: "x"}, false},
		{Options{ModelPath: "x", Repack: RepackNever}, true},
		{Options{ModelReader: reader}, true},
		{Options{ModelReader: reader, Repack: RepackNever}, true},
		{Options{ModelReader: reader, Repack: RepackAlways}, false},
	} {
		if got := tt.opts.inPlace(); got != tt.want {
			t.Errorf("%+v: %v", tt.opts, got)
		}
	}
}

func TestCheckSource(t *testing.T) {
	reader := bytes.NewReader(nil)
	for _, tt := range []struct {
		opts Options
		ok   bool
	}{
		{Options{ModelPath: "x"}, true},
		{Options{Model: []byte{1}}, true},
		{Options{ModelReader: reader}, true},
		{Options{ModelReader: reader, MaxModelBytes: 1, Repack: RepackAlways}, true},
		{Options{}, false},
		{Options{ModelPath: "x", ModelReader: reader}, false},
		{Options{Model: []byte{1}, ModelReader: reader}, false},
		{Options{ModelPath: "x", Model: []byte{1}, ModelReader: reader}, false},
		{Options{ModelReader: reader, MaxModelBytes: -1}, false},
		{Options{ModelPath: "x", MaxModelBytes: 1}, false},
		{Options{ModelPath: "x", Repack: 3}, false},
		{Options{ModelPath: "x", Repack: -1}, false},
	} {
		if err := tt.opts.checkSource(); (err == nil) != tt.ok {
			t.Errorf("%+v: %v", tt.opts, err)
		}
	}
}
