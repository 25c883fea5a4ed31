package envelope

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"os"
	"strings"
	"testing"
)

// streamVector is an entry of testdata/stream/vectors.json. The sealed stream is
// the file NAME.sealed; its plaintext is the bytes 0, 1, … 250, 0, 1, …
type streamVector struct {
	Name        string            `json:"name"`
	Key         string            `json:"key"`
	KeyARN      string            `json:"key_arn"`
	WrappedKey  string            `json:"wrapped_key"`
	Context     map[string]string `json:"context"`
	SegmentSize int               `json:"segment_size"`
	Salt        string            `json:"salt"`
	NoncePrefix string            `json:"nonce_prefix"`
	Size        int               `json:"plaintext_size"`
	Header      string            `json:"header"`
}

func (v *streamVector) plaintext() []byte {
	b := make([]byte, v.Size)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func streamVectors(t testing.TB) map[*streamVector][]byte {
	t.Helper()
	data, err := os.ReadFile("testdata/stream/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []*streamVector
	if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	all := map[*streamVector][]byte{}
	for _, v := range list {
		if all[v], err = os.ReadFile("testdata/stream/" + v.Name + ".sealed"); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestStreamVectors(t *testing.T) {
	for v, sealed := range streamVectors(t) {
		h := StreamHeader{KeyID: v.KeyARN, WrappedKey: unhex(t, v.WrappedKey), Context: v.Context, SegmentSize: v.SegmentSize}
		header, err := marshalStreamHeader(h)
		if err != nil || hex.EncodeToString(header) != v.Header {
			t.Errorf("%s: header %x, %v", v.Name, header, err)
			continue
		}
		body := [bodyHeaderSize]byte{bodyHeaderSize}
		copy(body[1:], unhex(t, v.Salt))
		copy(body[1+saltSize:], unhex(t, v.NoncePrefix))
		var out bytes.Buffer
		w, err := newWriter(&out, unhex(t, v.Key), header, body, v.SegmentSize, 2, -1)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(v.plaintext())
		if err := w.Close(); err != nil || !bytes.Equal(out.Bytes(), sealed) {
			t.Errorf("%s: sealed otherwise, %v", v.Name, err)
		}

		src := bytes.NewReader(sealed)
		got, raw, err := readStreamHeader(src)
		if err != nil || got.KeyID != h.KeyID || !bytes.Equal(got.WrappedKey, h.WrappedKey) || !maps.Equal(got.Context, h.Context) || got.SegmentSize != h.SegmentSize {
			t.Errorf("%s: reads %+v, %v", v.Name, got, err)
		}
		r, err := newReader(src, unhex(t, v.Key), raw, got.SegmentSize, 2)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := io.ReadAll(r); err != nil || !bytes.Equal(plain, v.plaintext()) {
			t.Errorf("%s: opens to %d bytes, %v", v.Name, len(plain), err)
		}
	}
}

// TestStreamHeaderIsStrict changes a good header, written in hexadecimal.
func TestStreamHeaderIsStrict(t *testing.T) {
	const arn = "61726e3a6177733a6b6d733a75732d656173742d313a3131313132323232333333333a6b65792f31" // arn:aws:kms:us-east-1:111122223333:key/1
	const good = "a6" + "0101" + "0201" + "037828" + arn + "0443010203" + "05a1616101" + "061a00100000"
	fixed := strings.Replace(good, "05a1616101", "05a161616162", 1)
	if h, err := parseStreamHeader(unhex(t, fixed)); err != nil || h.Context["a"] != "b" {
		t.Fatalf("%+v, %v", h, err)
	}
	for name, raw := range map[string]string{
		"a number in the context":    good,
		"version 0":                  strings.Replace(fixed, "a60101", "a60100", 1),
		"version 2":                  strings.Replace(fixed, "a60101", "a60102", 1),
		"suite 2":                    strings.Replace(fixed, "0201", "0202", 1),
		"number in a longer form":    strings.Replace(fixed, "a60101", "a6011801", 1),
		"map of unbounded length":    strings.Replace(fixed, "a6", "bf", 1) + "ff",
		"map length in two bytes":    strings.Replace(fixed, "a6", "b806", 1),
		"keys in another order":      strings.Replace(fixed, "01010201", "02010101", 1),
		"a key twice":                strings.Replace(fixed, "a601010201", "a7010101010201", 1),
		"an unknown key":             strings.Replace(fixed, "a6", "a7", 1) + "0700",
		"a text key":                 strings.Replace(fixed, "a6", "a7", 1) + "617800",
		"a key missing":              strings.Replace(fixed, "a601010201", "a50101", 1),
		"no context":                 strings.Replace(strings.Replace(fixed, "a6", "a5", 1), "05a161616162", "", 1),
		"null context":               strings.Replace(fixed, "05a161616162", "05f6", 1),
		"a context key twice":        strings.Replace(fixed, "05a161616162", "05a26161616261616162", 1),
		"unsorted context":           strings.Replace(fixed, "05a161616162", "05a26162616261616162", 1),
		"context not UTF-8":          strings.Replace(fixed, "05a161616162", "05a1616161ff", 1),
		"a tag":                      strings.Replace(fixed, "a6", "d9d9f7a6", 1),
		"a byte behind":              fixed + "00",
		"cut short":                  fixed[:len(fixed)-2],
		"wrapped key empty":          strings.Replace(fixed, "0443010203", "0440", 1),
		"wrapped key as text":        strings.Replace(fixed, "0443010203", "0463010203", 1),
		"wrapped key in pieces":      strings.Replace(fixed, "0443010203", "045f43010203ff", 1),
		"wrapped key too long":       strings.Replace(fixed, "0443010203", "04591801"+strings.Repeat("00", 6145), 1),
		"a length beyond the header": strings.Replace(fixed, "0443010203", "045b7fffffffffffffff", 1),
		"segments of 0 bytes":        strings.Replace(fixed, "061a00100000", "0600", 1),
		"segments of 2 MiB":          strings.Replace(fixed, "061a00100000", "061a00200000", 1),
		"not a key ARN":              strings.Replace(fixed, arn[:6], "61726f", 1),
		"an array":                   "8601010101",
		"nothing but a map":          "a0",
	} {
		if raw == fixed {
			t.Errorf("%s: nothing is changed", name)
		}
		h, err := parseStreamHeader(unhex(t, raw))
		if !errors.Is(err, ErrStream) || h.KeyID != "" || h.WrappedKey != nil {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	// The length is checked before anything of that length is read.
	for _, length := range []string{"00000000", "00008001", "ffffffff"} {
		src := bytes.NewReader(append(append([]byte(streamMagic), unhex(t, length)...), make([]byte, 1<<16)...))
		if _, _, err := readStreamHeader(src); !errors.Is(err, ErrStream) || src.Len() != 1<<16 {
			t.Errorf("length %s: %v, %d bytes left", length, err, src.Len())
		}
	}
}

// An authentic stream whose last segment is empty, which no Writer makes.
func TestStreamEmptyLastSegment(t *testing.T) {
	key, body := make([]byte, contentKeySize), [bodyHeaderSize]byte{bodyHeaderSize}
	header := []byte("header")
	c, err := newSegmentCipher(key, header, body)
	if err != nil {
		t.Fatal(err)
	}
	sealed := body[:]
	for i, size := range []int{sealedSize(0, segment4KB) - tagSize, 0} {
		s := &segment{number: int64(i), last: i == 1, buf: make([]byte, size), done: make(chan struct{})}
		s.seal(c)
		sealed = append(sealed, s.buf...)
	}
	want := StreamError{Segment: 1, Reason: "empty"}
	r, err := newReader(bytes.NewReader(sealed), key, header, segment4KB, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got *StreamError
	if _, err := io.ReadAll(r); !errors.As(err, &got) || *got != want {
		t.Errorf("Reader: %v", err)
	}
	whole := append(framed(header), sealed...)
	if _, err := newReaderAt(bytes.NewReader(whole), int64(len(whole)), key, header, segment4KB, 1); !errors.As(err, &got) || *got != want {
		t.Errorf("ReaderAt: %v", err)
	}
	if text := got.Error(); text != "envelope: sealed stream: segment 1: empty" {
		t.Error(text)
	}
	if text := headerError("cut short").Error(); text != "envelope: sealed stream: header: cut short" {
		t.Error(text)
	}
}

// The segment counter has 32 bits and does not wrap.
func TestStreamCounterEnds(t *testing.T) {
	body := [bodyHeaderSize]byte{bodyHeaderSize}
	w, err := newWriter(io.Discard, make([]byte, 32), []byte("header"), body, segment4KB, 1, -1)
	if err != nil {
		t.Fatal(err)
	}
	w.current.number = maxSegment
	if n, err := w.Write(make([]byte, segment4KB)); err == nil || n != segment4KB-tagSize {
		t.Errorf("%d, %v", n, err)
	}
	if err := w.Close(); !errors.Is(err, errStreamFull) {
		t.Error(err)
	}
	s := &segment{number: maxSegment + 1, buf: make([]byte, 100), done: make(chan struct{})}
	if s.open(nil); s.err == nil {
		t.Error("a segment beyond the last opens")
	}
}

func TestStreamIsWiped(t *testing.T) {
	for v, sealed := range streamVectors(t) {
		if v.Size < 8 {
			continue
		}
		src := bytes.NewReader(sealed)
		_, raw, err := readStreamHeader(src)
		if err != nil {
			t.Fatal(err)
		}
		r, err := newReader(src, unhex(t, v.Key), raw, v.SegmentSize, 2)
		if err != nil {
			t.Fatal(err)
		}
		r.Read(make([]byte, 4))
		plain := r.plain
		r.Close()
		if len(plain) == 0 || !bytes.Equal(plain, make([]byte, len(plain))) {
			t.Errorf("%s: Reader.Close leaves plaintext", v.Name)
		}

		a, err := newReaderAt(bytes.NewReader(sealed), int64(len(sealed)), unhex(t, v.Key), raw, v.SegmentSize, 2)
		if err != nil {
			t.Fatal(err)
		}
		plain = a.kept.buf
		a.Close()
		if len(plain) == 0 || !bytes.Equal(plain, make([]byte, len(plain))) {
			t.Errorf("%s: ReaderAt.Close leaves plaintext", v.Name)
		}

		w, err := newWriter(io.Discard, unhex(t, v.Key), raw, [bodyHeaderSize]byte{bodyHeaderSize}, v.SegmentSize, 2, -1)
		if err != nil {
			t.Fatal(err)
		}
		w.Write([]byte("plaintext"))
		plain = w.current.buf
		w.Abort()
		if !bytes.Equal(plain, make([]byte, 9)) {
			t.Errorf("%s: Writer.Abort leaves plaintext", v.Name)
		}
	}
}

func FuzzStreamHeader(f *testing.F) {
	for _, sealed := range streamVectors(f) {
		f.Add(sealed[streamPreamble : len(sealed)-1])
		f.Add(sealed)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseStreamHeader(b); err == nil {
			again, err := marshalStreamHeader(h)
			if err != nil || !bytes.Equal(again, b) {
				t.Errorf("%x becomes %x, %v", b, again, err)
			}
		} else if !errors.Is(err, ErrStream) {
			t.Error(err)
		}
		src := bytes.NewReader(b)
		h, raw, err := readStreamHeader(src)
		if err != nil {
			return
		}
		if !bytes.Equal(append(framed(raw), b[len(b)-src.Len():]...), b) {
			t.Errorf("reads more or less than the header of %x", b)
		}
		if len(b) > 1<<16 {
			return // the bodies are the same at any length
		}
		// No fuzzer finds a body of which it does not know the key.
		key := bytes.Repeat([]byte{0x5a}, contentKeySize)
		if r, err := newReader(src, key, raw, h.SegmentSize, 1); err == nil {
			if n, err := r.WriteTo(io.Discard); n != 0 || !errors.Is(err, ErrStream) {
				t.Errorf("%d bytes, %v", n, err)
			}
		}
		if _, err := newReaderAt(bytes.NewReader(b), int64(len(b)), key, raw, h.SegmentSize, 1); !errors.Is(err, ErrStream) {
			t.Error(err)
		}
	})
}
