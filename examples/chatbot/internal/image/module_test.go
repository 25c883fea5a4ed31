package image

import (
	"bytes"
	"compress/gzip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func names(list []module) string {
	var all []string
	for _, m := range list {
		all = append(all, m.name)
	}
	return strings.Join(all, " ")
}

func TestModules(t *testing.T) {
	dir := filepath.Join(t.TempDir(), release)
	compileModule(t, filepath.Join(dir, "a-b.ko"), "c,d", release)
	compileModule(t, filepath.Join(dir, "below", "c.ko"), "d", release)
	compileModule(t, filepath.Join(dir, "d.ko"), "", release)
	compileModule(t, filepath.Join(dir, "lost.ko"), "gone", release)
	compileModule(t, filepath.Join(dir, "loop.ko"), "loop2", release)
	compileModule(t, filepath.Join(dir, "loop2.ko"), "loop", release)
	compileModule(t, filepath.Join(dir, "old.ko"), "", "8.8.8-other")
	write(t, filepath.Join(dir, "bad.ko"), []byte("no module"))
	write(t, filepath.Join(dir, "unknown.ko.lzma"), nil)
	write(t, filepath.Join(dir, "modules.builtin"), []byte("kernel/drivers/built-in.ko\n"))
	m, err := openModules(filepath.Dir(dir), release)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ optional, named, want string }{
		{"", "a_b", "d c a_b"}, {"", "a-b d", "d c a_b"}, {"d none", "c", "d c"}, {"", "built_in built-in", ""}, {"built_in", "", ""},
		{"", "loop", "loop2 loop"}, {"", "", ""},
	} {
		list, err := m.load(strings.Fields(tt.optional), strings.Fields(tt.named))
		if err != nil || names(list) != tt.want {
			t.Errorf("%q and %q: %q, %v", tt.optional, tt.named, names(list), err)
		}
	}
	for name, want := range map[string]string{
		"none": "no module none", "lost": "no module gone", "old": "for the kernel 8.8.8-other, the kernel is " + release,
		"bad": "no kernel module", "unknown": "unknown way",
	} {
		if _, err := m.load(nil, []string{name}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := m.load([]string{name}, nil); (err == nil) != (name == "none") {
			t.Errorf("%s, optional: %v", name, err)
		}
	}
	compileModule(t, filepath.Join(filepath.Dir(dir), "other", "d.ko"), "", "other")
	if _, err := openModules(filepath.Dir(dir), ""); err == nil || !strings.Contains(err.Error(), "two modules d") {
		t.Errorf("folders of two kernels: %v", err)
	}
}

// TestCompressedModules: all forms that distributions have give the same bytes.
func TestCompressedModules(t *testing.T) {
	dir := t.TempDir()
	plain := bytes.Repeat([]byte("module "), 1000)
	name := write(t, filepath.Join(dir, "m.ko"), plain)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	w.Write(plain)
	w.Close()
	write(t, name+".gz", z.Bytes())
	files := []string{name, name + ".gz"}
	for program, ext := range map[string]string{"xz": ".xz", "zstd": ".zst"} {
		cmd := exec.CommandContext(t.Context(), program, "-c", name)
		if out, err := cmd.Output(); err == nil {
			files = append(files, write(t, name+ext, out))
		} else {
			t.Logf("%s is not installed", program)
		}
	}
	for _, file := range files {
		if got, err := readModule(file); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", file, len(got), err)
		}
		if file == name {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cut := write(t, filepath.Join(dir, "cut", filepath.Base(file)), data[:len(data)-9])
		if got, err := readModule(cut); err == nil || got != nil {
			t.Errorf("%s cut off: %d bytes, %v", file, len(got), err)
		}
	}
}

func TestKernelRelease(t *testing.T) {
	change := func(data []byte, at int, to byte) []byte { data[at] = to; return data }
	for name, tt := range map[string]struct {
		data       []byte
		arch, want string
		ok         bool
	}{
		"bzImage":       {bzImage(), "x86_64", release, true},
		"no release":    {change(change(bzImage(), 0x20e, 0), 0x20f, 0), "x86_64", "", true},
		"far release":   {change(bzImage(), 0x20f, 0xff), "x86_64", "", true},
		"Image":         {arm64Image(), "arm64", "", true},
		"for arm64":     {bzImage(), "arm64", "", false},
		"for x86_64":    {arm64Image(), "x86_64", "", false},
		"zImage":        {change(bzImage(), 0x211, 0), "x86_64", "", false},
		"empty":         {nil, "x86_64", "", false},
		"short":         {bzImage()[:0x210], "x86_64", "", false},
		"vmlinux":       {append([]byte("\x7fELF"), make([]byte, 1000)...), "x86_64", "", false},
		"gzipped Image": {append([]byte{0x1f, 0x8b}, make([]byte, 1000)...), "arm64", "", false},
	} {
		got, err := kernelRelease(write(t, filepath.Join(t.TempDir(), "k"), tt.data), tt.arch)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
