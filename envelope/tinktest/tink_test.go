// Package tinktest holds sealed streams against Tink's own implementation. It
// is a module of its own so that importers of nitroseal never see Tink.
package tinktest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"

	"github.com/nitroseal/nitroseal/envelope"
)

const arn = "arn:aws:kms:us-east-1:111122223333:key/1234abcd"

var direction = envelope.EncryptionContext{"direction": "request"}

// openKMS wraps nothing: its ciphertexts are the plaintexts, so that the test
// knows the data key.
type openKMS struct{ envelope.KMSAPI }

func (openKMS) Encrypt(_ context.Context, in *kms.EncryptInput, _ ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	return &kms.EncryptOutput{KeyId: in.KeyId, CiphertextBlob: bytes.Clone(in.Plaintext)}, nil
}

func (openKMS) Decrypt(_ context.Context, in *kms.DecryptInput, _ ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	return &kms.DecryptOutput{KeyId: in.KeyId, Plaintext: bytes.Clone(in.CiphertextBlob)}, nil
}

func client(t testing.TB) *envelope.Client {
	t.Helper()
	c, err := envelope.NewClient(envelope.Options{KMS: openKMS{}, KeyID: arn})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// split returns a sealed stream's header, with and without what frames it, and
// its body.
func split(sealed []byte) (framed, header, body []byte) {
	n := 12 + binary.BigEndian.Uint32(sealed[8:12])
	return sealed[:n], sealed[12:n], sealed[n:]
}

func tink(t testing.TB, key []byte, segment int) *subtle.AESGCMHKDF {
	t.Helper()
	a, err := subtle.NewAESGCMHKDF(key, "SHA256", 32, segment, 0)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func tinkOpens(t testing.TB, key, header, body []byte, segment int) ([]byte, error) {
	t.Helper()
	associated := sha256.Sum256(header)
	r, err := tink(t, key, segment).NewDecryptingReader(bytes.NewReader(body), associated[:])
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func tinkSeals(t testing.TB, key, header, plain []byte, segment int) []byte {
	t.Helper()
	associated := sha256.Sum256(header)
	var out bytes.Buffer
	w, err := tink(t, key, segment).NewEncryptingWriter(&out, associated[:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// both holds one size of plaintext against Tink in both directions.
func both(t testing.TB, c *envelope.Client, size, segment int) {
	t.Helper()
	ctx := context.Background()
	opts := envelope.StreamOptions{SegmentSize: segment, Decrypt: c.DecryptUnattested}
	plain := make([]byte, size)
	rand.Read(plain)
	sealed, err := c.Seal(ctx, plain, direction, opts)
	if err != nil {
		t.Fatal(err)
	}
	h, err := envelope.ReadStreamHeader(bytes.NewReader(sealed))
	if err != nil {
		t.Fatal(err)
	}
	key := h.WrappedKey // in clear, see openKMS
	framed, header, body := split(sealed)
	if got, err := tinkOpens(t, key, header, body, segment); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes: Tink opens ours to %d bytes, %v", size, len(got), err)
	}
	theirs := append(bytes.Clone(framed), tinkSeals(t, key, header, plain, segment)...)
	if len(theirs) != len(sealed) {
		t.Errorf("%d bytes: %d sealed by Tink, %d by us", size, len(theirs), len(sealed))
	}
	if got, err := c.Open(ctx, theirs, direction, opts); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes: Open opens Tink's to %d bytes, %v", size, len(got), err)
	}
	r, err := c.NewReader(ctx, bytes.NewReader(theirs), direction, opts)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes: a Reader opens Tink's to %d bytes, %v", size, len(got), err)
	}
}

func TestBothDirections(t *testing.T) {
	c := client(t)
	for _, segment := range []int{4 << 10, 1 << 20} {
		first, next := segment-40-16, segment-16
		for _, size := range []int{0, 1, first - 1, first, first + 1, first + next - 1, first + next, first + next + 1, 3*segment + 7} {
			both(t, c, size, segment)
		}
	}
}

// TestVectors has Tink open the golden streams.
func TestVectors(t *testing.T) {
	data, err := os.ReadFile("../testdata/stream/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		Name        string `json:"name"`
		Key         string `json:"key"`
		SegmentSize int    `json:"segment_size"`
		Size        int    `json:"plaintext_size"`
	}
	if err := json.Unmarshal(data, &list); err != nil || len(list) == 0 {
		t.Fatalf("%d vectors, %v", len(list), err)
	}
	for _, v := range list {
		sealed, err := os.ReadFile("../testdata/stream/" + v.Name + ".sealed")
		if err != nil {
			t.Fatal(err)
		}
		key, err := hex.DecodeString(v.Key)
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, v.Size)
		for i := range want {
			want[i] = byte(i % 251)
		}
		_, header, body := split(sealed)
		if got, err := tinkOpens(t, key, header, body, v.SegmentSize); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: Tink opens %d bytes, %v", v.Name, len(got), err)
		}
	}
}

const benchSize = 16 << 20

// BenchmarkSeal and BenchmarkOpen compare with Tink on the same 16 MiB; before
// that they see to it that each opens the other's.
func BenchmarkSeal(b *testing.B) {
	c := client(b)
	both(b, c, benchSize, 1<<20)
	plain, key := make([]byte, benchSize), make([]byte, 32)
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("nitroseal/workers=%d", workers), func(b *testing.B) {
			b.SetBytes(benchSize)
			for b.Loop() {
				w, err := c.NewWriter(b.Context(), io.Discard, direction, envelope.StreamOptions{Workers: workers})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(plain); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("tink", func(b *testing.B) {
		b.SetBytes(benchSize)
		for b.Loop() {
			w, err := tink(b, key, 1<<20).NewEncryptingWriter(io.Discard, nil)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := w.Write(plain); err != nil {
				b.Fatal(err)
			}
			if err := w.Close(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	c := client(b)
	both(b, c, benchSize, 1<<20)
	sealed, err := c.Seal(b.Context(), make([]byte, benchSize), direction, envelope.StreamOptions{})
	if err != nil {
		b.Fatal(err)
	}
	h, err := envelope.ReadStreamHeader(bytes.NewReader(sealed))
	if err != nil {
		b.Fatal(err)
	}
	for _, workers := range []int{1, 2} {
		b.Run(fmt.Sprintf("nitroseal/workers=%d", workers), func(b *testing.B) {
			b.SetBytes(benchSize)
			opts := envelope.StreamOptions{Workers: workers, Decrypt: c.DecryptUnattested}
			for b.Loop() {
				r, err := c.NewReader(b.Context(), bytes.NewReader(sealed), direction, opts)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); n != benchSize || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
	b.Run("tink", func(b *testing.B) {
		b.SetBytes(benchSize)
		_, header, body := split(sealed)
		associated := sha256.Sum256(header)
		for b.Loop() {
			r, err := tink(b, h.WrappedKey, 1<<20).NewDecryptingReader(bytes.NewReader(body), associated[:])
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, r); n != benchSize || err != nil {
				b.Fatal(n, err)
			}
		}
	})
}
