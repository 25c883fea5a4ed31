package image

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// write writes a file, and the folders above it.
func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// compile runs the C compiler, without any library of the system.
func compile(t *testing.T, dir, source string, args ...string) {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the compiler makes no programs for Linux here")
	}
	if _, err := exec.LookPath("gcc"); err != nil {
		if os.Getenv("NITROSEAL_REQUIRE_FOREIGN") != "" {
			t.Fatal(err)
		}
		t.Skip("gcc is not installed: nothing makes programs to look into")
	}
	cmd := exec.CommandContext(t.Context(), "gcc", append([]string{"-xc", "-", "-xnone", "-nostdlib", "-fno-stack-protector"}, args...)...)
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(source)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc %q: %v\n%s", args, err, out)
	}
}

// arch is what compile compiles for.
func arch(t *testing.T, file string) string {
	t.Helper()
	a, err := archOf(file)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const release = "9.9.9-test"

// bzImage is the start of an x86_64 kernel.
func bzImage() []byte {
	b := make([]byte, 0x1000)
	b[0x1fe], b[0x1ff] = 0x55, 0xaa
	copy(b[0x202:], "HdrS")
	b[0x211] = 1
	b[0x20e] = 0x80
	copy(b[0x280:], release+" (somebody) #1")
	return b
}

// arm64Image is the start of an arm64 kernel.
func arm64Image() []byte {
	b := make([]byte, 0x1000)
	copy(b[56:], "ARM\x64")
	return b
}

// kernelFor writes a kernel.
func kernelFor(t *testing.T, dir, arch string) string {
	data := bzImage()
	if arch == "arm64" {
		data = arm64Image()
	}
	return write(t, filepath.Join(dir, "vmlinuz"), data)
}

// compileModule makes a kernel module, as far as anybody looks into it.
func compileModule(t *testing.T, file, depends, release string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	info := `__attribute__((section(".modinfo"))) const char %s[] = "%s";` + "\n"
	compile(t, filepath.Dir(file), fmt.Sprintf(info, "a", "depends="+depends)+fmt.Sprintf(info, "b", "vermagic="+release+" SMP"), "-c", "-o", file)
}

// tree makes all that an image can have in a folder: a program with two
// libraries, libllama with a backend, modules, a kernel, a model.
func tree(t *testing.T, dir string) Options {
	t.Helper()
	lib, llama := filepath.Join(dir, "lib"), filepath.Join(dir, "llama")
	for _, d := range []string{lib, llama} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	compile(t, lib, "int b(void) { return 1; }", "-shared", "-Wl,-soname,libb.so.1", "-o", "libb.so.1")
	compile(t, lib, "int b(void); int a(void) { return b(); }", "-shared", "-Wl,-soname,liba.so.1", "-o", "liba.so.1", "libb.so.1")
	compile(t, lib, "int g(void) { return 1; }", "-shared", "-Wl,-soname,libstd.so.6", "-o", "libstd.so.6")
	compile(t, dir, "int a(void); void _start(void) { a(); }", "-Wl,-dynamic-linker,"+filepath.Join(lib, "ld.so.1"),
		"-Wl,-rpath,$ORIGIN/lib", "-Wl,-rpath-link,lib", "-o", "program", "lib/liba.so.1")
	compile(t, lib, "void _start(void) {}", "-shared", "-o", "ld.so.1")
	compile(t, llama, "int s(void) { return 1; }", "-shared", "-Wl,-soname,libggml-base.so", "-o", "libggml-base.so")
	compile(t, llama, "int g(void); int s(void); int l(void) { return g() + s(); }", "-shared", "-Wl,-rpath,$ORIGIN:", "-o", "libllama.so", "../lib/libstd.so.6", "libggml-base.so")
	compile(t, llama, "int g(void); int c(void) { return g(); }", "-shared", "-o", "libggml-cpu-x64.so", "../lib/libstd.so.6")
	program := filepath.Join(dir, "program")
	modules := filepath.Join(dir, "modules", "lib", "modules", release)
	for name, depends := range map[string]string{"kernel/virtio_ring": "", "kernel/virtio_mmio": "virtio_ring", "net/vsock": "", "net/extra-one": "vsock"} {
		compileModule(t, filepath.Join(modules, name+".ko"), depends, release)
	}
	return Options{
		Program: program, Args: []string{"enclave", "-x"}, Library: filepath.Join(llama, "libllama.so"), LibraryDirs: []string{lib},
		Model: write(t, filepath.Join(dir, "model"), []byte("GGUF model")), Files: map[string]string{"/etc/deep/ca.pem": write(t, filepath.Join(dir, "ca"), []byte("PEM"))},
		Kernel: kernelFor(t, dir, arch(t, program)), ModulesDir: filepath.Join(dir, "modules"), Modules: []string{"extra-one"},
	}
}

// build builds an image and returns its bytes too.
func build(t *testing.T, o Options) ([]byte, *Contents) {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c, err := Build(f, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	return data, c
}

// entry is a file in an archive as a reader sees it.
type entry struct {
	mode, major, minor uint64
	data               string
}

// readArchives reads archives that follow each other, by the format's rules.
// What a later one has takes the place of what an earlier one had.
func readArchives(t *testing.T, data []byte) map[string]entry {
	t.Helper()
	files := map[string]entry{}
	for len(data) > 0 {
		if len(data) < 110 || string(data[:6]) != "070701" {
			t.Fatalf("no entry: %.20q", data)
		}
		var h [13]uint64
		for i := range h {
			n, err := strconv.ParseUint(string(data[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			h[i] = n
		}
		mode, uid, gid, mtime, size, names := h[1], h[2], h[3], h[5], int(h[6]), int(h[11])
		if uid != 0 || gid != 0 || mtime != 0 || h[7] != 0 || h[8] != 0 {
			t.Errorf("owner, time or device of %x", h)
		}
		name := string(data[110 : 110+names-1])
		at := (110 + names + 3) &^ 3
		body := string(data[at : at+size])
		data = data[(at+size+3)&^3:]
		if name == "TRAILER!!!" {
			data = bytes.TrimLeft(data, "\x00")
			continue
		}
		if dir, _, ok := cutLast(name); ok && files[dir].mode&typeMask != typeDir {
			t.Errorf("%s comes before its folder", name)
		}
		files[name] = entry{mode, h[9], h[10], body}
	}
	return files
}

func cutLast(name string) (dir, base string, ok bool) {
	i := strings.LastIndexByte(name, '/')
	if i < 0 {
		return "", name, false
	}
	return name[:i], name[i+1:], true
}

// touch gives all files of a folder another time, and another mode.
func touch(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if err = os.Chtimes(path, time.Unix(1, 0), time.Unix(1e9, 0)); err == nil && filepath.Base(path) == "ca" {
				err = os.Chmod(path, 0o600)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
