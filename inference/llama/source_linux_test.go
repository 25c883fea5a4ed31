package llama

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"golang.org/x/sys/unix"
)

// openMemories counts the descriptors of models that this process has open.
func openMemories(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, e := range entries {
		// What ReadDir used itself is gone by now.
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && strings.Contains(to, "memfd:nitroseal-model") {
			n++
		}
	}
	return n
}

// What libllama gets to read is final: it is sealed, and is what was hashed.
func TestSourceIsSealed(t *testing.T) {
	data := bytes.Repeat([]byte("GGUF"), 3000)
	sum := sha256.Sum256(data)
	digest := hex.EncodeToString(sum[:])
	file := t.TempDir() + "/model"
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, opts := range map[string]Options{
		"reader":             {ModelReader: bytes.NewReader(data)},
		"reader, digest":     {ModelReader: bytes.NewReader(data), Digest: digest},
		"slice":              {Model: data},
		"file with a digest": {ModelPath: file, Digest: digest},
	} {
		t.Run(name, func(t *testing.T) {
			before := openMemories(t)
			s, err := openSource(t.Context(), opts)
			if err != nil {
				t.Fatal(err)
			}
			seals, err := unix.FcntlInt(s.memory.Fd(), unix.F_GET_SEALS, 0)
			if all := unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE; err != nil || seals != all {
				t.Errorf("seals %#x, %v", seals, err)
			}
			if err := os.WriteFile(s.path, []byte("other"), 0); err == nil {
				t.Error("it can be written to by its path")
			}
			if got, err := os.ReadFile(s.path); err != nil || !bytes.Equal(got, data) || s.digest != digest {
				t.Errorf("%d bytes, digest %s, %v", len(got), s.digest, err)
			}
			if err := s.close(); err != nil || openMemories(t) != before {
				t.Errorf("%d descriptors are left, %v", openMemories(t)-before, err)
			}
		})
	}
}

// A failure leaves no memory behind, also if the reader panics.
func TestSourceIsReleased(t *testing.T) {
	before := openMemories(t)
	wrong := strings.Repeat("0", 64)
	for name, in := range map[string]io.Reader{
		"wrong digest": strings.NewReader("model"),
		"error":        iotest.ErrReader(io.ErrUnexpectedEOF),
		"too large":    strings.NewReader(strings.Repeat("x", 101)),
	} {
		if s, err := openSource(t.Context(), Options{ModelReader: in, MaxModelBytes: 100, Digest: wrong}); err == nil || s != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic did not pass")
			}
		}()
		openSource(t.Context(), Options{ModelReader: readerFunc(func([]byte) (int, error) { panic(errors.New("reader")) })})
	}()
	if n := openMemories(t) - before; n != 0 {
		t.Errorf("%d descriptors are left", n)
	}
}

func TestDefaultModelLimit(t *testing.T) {
	have := availableMemory()
	if have <= 0 {
		t.Fatalf("/proc/meminfo: %d bytes", have)
	}
	if n := defaultModelLimit(); n <= 0 || n == fallbackModelLimit {
		t.Errorf("limit %d, %d bytes are available", n, have)
	}
}
