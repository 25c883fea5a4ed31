package envelope

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// vector is one entry of testdata/vectors.json.
type vector struct {
	Name, Kind, File, Key, Expect, Plaintext, Strength, Note string
	EncryptedKey                                             string `json:"encrypted_key"`
	IV, Ciphertext                                           string
}

func loadVectors(t testing.TB) []vector {
	t.Helper()
	data, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var index struct{ Vectors []vector }
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Vectors) < 200 {
		t.Fatalf("the index has %d vectors, it must have 200 and more", len(index.Vectors))
	}
	return index.Vectors
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var keys sync.Map // file name to *rsa.PrivateKey

func readKey(t testing.TB, name string) *rsa.PrivateKey {
	t.Helper()
	if k, ok := keys.Load(name); ok {
		return k.(*rsa.PrivateKey)
	}
	block, _ := pem.Decode(read(t, name))
	if block == nil {
		t.Fatalf("%s is no PEM", name)
	}
	var k *rsa.PrivateKey
	if parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
		k = parsed.(*rsa.PrivateKey)
	} else if k, err = x509.ParsePKCS1PrivateKey(block.Bytes); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	keys.Store(name, k)
	return k
}

// ignoresSKI are refused for their recipient identifier alone.
var ignoresSKI = []string{"ski-of-other-key", "ski-20-random"}

func TestVectors(t *testing.T) {
	for _, v := range loadVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			message := read(t, v.File)
			if v.Kind == "cms-parse" {
				parsed, err := parseEnvelopedData(message)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(parsed.encryptedKey, read(t, v.EncryptedKey)) || !bytes.Equal(parsed.iv, read(t, v.IV)) || !bytes.Equal(parsed.ciphertext, read(t, v.Ciphertext)) {
					t.Error("a field differs")
				}
				return
			}
			key := readKey(t, v.Key)
			// What OpenSSL made has identifiers of its own.
			openssl := strings.HasPrefix(v.Name, "openssl-")
			got, err := UnwrapCMS(key, message, UnwrapOptions{AnyRecipientID: openssl})
			if v.Expect == "ok" {
				if err != nil {
					t.Fatalf("%v (%s; %s)", err, v.Strength, v.Note)
				}
				if !bytes.Equal(got, read(t, v.Plaintext)) {
					t.Error("another plaintext")
				}
				if _, err := UnwrapCMS(key, message, UnwrapOptions{}); openssl && err != ErrOpen {
					t.Errorf("opened under a foreign identifier: %v", err)
				}
				return
			}
			if got != nil || err != ErrOpen {
				t.Fatalf("%d bytes and %v, want ErrOpen (%s; %s)", len(got), err, v.Strength, v.Note)
			}
			if !slices.Contains(ignoresSKI, v.Name) {
				if _, err := UnwrapCMS(key, message, UnwrapOptions{AnyRecipientID: true}); err != ErrOpen {
					t.Errorf("with any recipient identifier: %v", err)
				}
			}
		})
	}
}

// Every truncation and every one-byte change of a real message either fails
// with the one error or, where the change does not matter, never happens.
func TestMutations(t *testing.T) {
	message := read(t, "cms/real/k1-edgebit.cms")
	key := readKey(t, "cms/real/k1-edgebit.key.pem")
	for n := range message {
		if _, err := UnwrapCMS(key, message[:n], UnwrapOptions{}); err != ErrOpen {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
	}
	want, err := UnwrapCMS(key, message, UnwrapOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range message {
		changed := slices.Clone(message)
		changed[i] ^= 1
		got, err := UnwrapCMS(key, changed, UnwrapOptions{})
		// CBC has no authentication: changes to the IV and to ciphertext
		// before the padding's blocks change plaintext bytes unnoticed.
		if err == nil && bytes.Equal(got, want) {
			t.Errorf("a change of byte %d goes unnoticed and has no effect", i)
		}
		if err != nil && err != ErrOpen {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

func TestWrongKey(t *testing.T) {
	message := read(t, "cms/valid/kmslike-rsa2048-32.cms")
	for _, opts := range []UnwrapOptions{{}, {AnyRecipientID: true}} {
		for _, name := range []string{"cms/keys/rsa2048b.key.pem", "cms/keys/rsa4096.key.pem"} {
			if _, err := UnwrapCMS(readKey(t, name), message, opts); err != ErrOpen {
				t.Errorf("%s, %+v: %v", name, opts, err)
			}
		}
	}
}

func TestUnpad(t *testing.T) {
	block := func(tail ...byte) []byte {
		b := bytes.Repeat([]byte{0xaa}, 32)
		copy(b[32-len(tail):], tail)
		return b
	}
	for _, tt := range []struct {
		in   []byte
		n    int
		good bool
	}{
		{block(1), 31, true},
		{block(2, 2), 30, true},
		{block(bytes.Repeat([]byte{16}, 16)...), 16, true},
		{block(0), 0, false},
		{block(17), 0, false},
		{block(0xff), 0, false},
		{block(1, 2), 0, false},
		{block(append([]byte{15}, bytes.Repeat([]byte{16}, 15)...)...), 0, false},
	} {
		if n, ok := unpad(tt.in); (ok == 1) != tt.good || (tt.good && n != tt.n) {
			t.Errorf("%x: %d, %d", tt.in[16:], n, ok)
		}
	}
}

func FuzzUnwrapCMS(f *testing.F) {
	key := readKey(f, "cms/keys/rsa2048.key.pem")
	for _, v := range loadVectors(f) {
		if b := read(f, v.File); len(b) < 8<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		out, err := UnwrapCMS(key, in, UnwrapOptions{AnyRecipientID: true})
		if err != nil && (out != nil || !errors.Is(err, ErrOpen)) {
			t.Fatalf("%d bytes beside %v", len(out), err)
		}
		if len(out) > len(in) {
			t.Fatal("more plaintext than input")
		}
	})
}
