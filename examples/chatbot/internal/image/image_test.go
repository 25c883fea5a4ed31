package image

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nitroseal/nitroseal/attest/eif"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/pid1"
)

// TestSameBytes: the same files in another folder, with other times, give the
// same image, and a change is in the register that it belongs to.
func TestSameBytes(t *testing.T) {
	// Names of libraries by their paths are in programs, so the folder that is
	// built in is always the same one.
	dir := filepath.Join(t.TempDir(), "build")
	o := tree(t, dir)
	first, c := build(t, o)
	moved := filepath.Join(t.TempDir(), "somewhere", "else")
	if err := os.MkdirAll(filepath.Dir(moved), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(moved, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	touch(t, moved)
	there := func(name string) string { return strings.Replace(name, dir, moved, 1) }
	o2 := o
	o2.Program, o2.Library, o2.Model, o2.Kernel, o2.ModulesDir = there(o.Program), there(o.Library), there(o.Model), there(o.Kernel), there(o.ModulesDir)
	o2.LibraryDirs = []string{there(o.LibraryDirs[0])}
	o2.Files = map[string]string{"/etc/deep/ca.pem": there(o.Files["/etc/deep/ca.pem"])}
	if second, _ := build(t, o2); !bytes.Equal(first, second) {
		t.Error("another folder gives another image")
	}
	t.Chdir(moved)
	o2.Program, o2.Library, o2.LibraryDirs, o2.ModulesDir = "program", "llama/libllama.so", []string{"lib"}, "modules"
	if third, _ := build(t, o2); !bytes.Equal(first, third) {
		t.Error("relative names give another image")
	}
	if read, err := eif.Read(bytes.NewReader(first)); err != nil || !read.PCRs[0].Equal(c.Image.PCRs[0]) || c.Size != int64(len(first)) {
		t.Errorf("%v, %d bytes of %d", err, c.Size, len(first))
	}
	for name, tt := range map[string]struct {
		change func(*Options)
		pcr    int
	}{
		"arguments": {func(o *Options) { o.Args = []string{"enclave", "-y"} }, 2},
		"model":     {func(o *Options) { o.Model = write(t, filepath.Join(t.TempDir(), "m"), []byte("GGUF other")) }, 2},
		"no model":  {func(o *Options) { o.Model = "" }, 2},
		"modules":   {func(o *Options) { o.Modules = nil }, 1},
		"cmdline":   {func(o *Options) { o.Cmdline = "console=ttyS0" }, 1},
	} {
		changed := o
		tt.change(&changed)
		_, c2 := build(t, changed)
		for i := range 3 {
			if same := c2.Image.PCRs[i].Equal(c.Image.PCRs[i]); same == (i == 0 || i == tt.pcr) {
				t.Errorf("%s: PCR%d is the same: %v", name, i, same)
			}
		}
	}
}

// TestRootFileSystem reads the ramdisks back as the kernel unpacks them.
func TestRootFileSystem(t *testing.T) {
	dir := t.TempDir()
	o := tree(t, dir)
	data, c := build(t, o)
	var kernel, ramdisks bytes.Buffer
	if err := Unpack(bytes.NewReader(data), c.Image, &kernel, &ramdisks); err != nil {
		t.Fatal(err)
	}
	if want, err := os.ReadFile(o.Kernel); err != nil || !bytes.Equal(kernel.Bytes(), want) {
		t.Error("the kernel is not the one that was given", err)
	}
	files := readArchives(t, ramdisks.Bytes())
	for name, source := range map[string]string{
		"chatbot": o.Program, "lib64/liba.so.1": dir + "/lib/liba.so.1", "lib64/libb.so.1": dir + "/lib/libb.so.1", "lib64/libstd.so.6": dir + "/lib/libstd.so.6",
		"llama/libllama.so": o.Library, "llama/libggml-cpu-x64.so": dir + "/llama/libggml-cpu-x64.so",
		"model.gguf": o.Model, "etc/deep/ca.pem": dir + "/ca", dir[1:] + "/lib/ld.so.1": dir + "/lib/ld.so.1",
		"modules/003-extra_one.ko": filepath.Join(o.ModulesDir, "lib/modules", release, "net/extra-one.ko"),
	} {
		want, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		if got := files[name]; got.data != string(want) || got.mode&typeMask != typeFile {
			t.Errorf("%s: %o, %d bytes, want the %d of %s", name, got.mode, len(got.data), len(want), source)
		}
	}
	for name, want := range map[string]string{"init": "chatbot", "lib": "lib64", "usr/lib": "../lib64", "usr/lib64": "../lib64"} {
		if got := files[name]; got.data != want || got.mode != typeLink|0o777 {
			t.Errorf("%s -> %s, %o", name, got.data, got.mode)
		}
	}
	if got := files["dev/console"]; got != (entry{typeChar | 0o600, 5, 1, ""}) {
		t.Errorf("console: %+v", got)
	}
	if got := files["chatbot"].mode; got != typeFile|0o755 {
		t.Errorf("the program cannot be executed: %o", got)
	}
	config, err := pid1.ParseConfig([]byte(files[pid1.ConfigFile[1:]].data))
	if err != nil || !slices.Equal(config.Command, []string{"/chatbot", "enclave", "-x"}) || config.ParentCID != 3 {
		t.Errorf("%+v, %v", config, err)
	}
	var modules []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if strings.HasPrefix(name, "modules/") {
			modules = append(modules, strings.TrimSuffix(name[len("modules/000-"):], ".ko"))
		}
	}
	if want := []string{"virtio_ring", "virtio_mmio", "vsock", "extra_one"}; !slices.Equal(modules, want) || !slices.Equal(c.Modules, want) {
		t.Errorf("modules %q, %q", modules, c.Modules)
	}
	if _, err := exec.LookPath("cpio"); err == nil { // its own opinion
		cmd := exec.CommandContext(t.Context(), "cpio", "-t", "--quiet")
		cmd.Stdin = &ramdisks
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
}

// TestRefused: what would not start is an error now, which names what is wrong.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	good := tree(t, dir)
	text := write(t, filepath.Join(dir, "text"), []byte("no program"))
	static := filepath.Join(dir, "static")
	compile(t, dir, "void _start(void) {}", "-static", "-o", "static")
	other := map[string]string{"x86_64": "arm64", "arm64": "x86_64"}[arch(t, good.Program)]
	for name, tt := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"nothing":            {func(o *Options) { *o = Options{} }, "required"},
		"no program":         {func(o *Options) { o.Program = text }, "text is no program"},
		"missing program":    {func(o *Options) { o.Program = dir + "/none" }, "none"},
		"other architecture": {func(o *Options) { o.Arch = other }, "is for " + arch(t, good.Program)},
		"other kernel":       {func(o *Options) { o.Kernel = kernelFor(t, t.TempDir(), other) }, "is not for"},
		"no kernel":          {func(o *Options) { o.Kernel = text }, "is no kernel"},
		"static program":     {func(o *Options) { o.Program = static }, "statically"},
		"missing library":    {func(o *Options) { o.LibraryDirs = nil }, "liba.so.1 needs libb.so.1, which is in none of"},
		"no backend":         {func(o *Options) { o.Library = dir + "/lib/libstd.so.6" }, "no backend"},
		"no libllama":        {func(o *Options) { o.Library = dir + "/none" }, "none"},
		"no module":          {func(o *Options) { o.Modules = []string{"floppy"} }, "no module floppy"},
		"modules of nowhere": {func(o *Options) { o.ModulesDir = "" }, "no folder"},
		"no folder":          {func(o *Options) { o.ModulesDir = dir + "/none" }, "none"},
		"no model":           {func(o *Options) { o.Model = dir + "/none" }, "none"},
		"folder as model":    {func(o *Options) { o.Model = dir }, "no regular file"},
		"file in /lib":       {func(o *Options) { o.Files = map[string]string{"/lib/x": text} }, "/lib is the image's"},
		"file as init":       {func(o *Options) { o.Files = map[string]string{"/init": text} }, "/init is the image's"},
		"relative file":      {func(o *Options) { o.Files = map[string]string{"x": text} }, "absolute"},
		"file above":         {func(o *Options) { o.Files = map[string]string{"/x/../lib/y": text} }, "absolute"},
		"file in file":       {func(o *Options) { o.Files = map[string]string{"/x": text, "/x/y": text} }, "/x is a file"},
		"no main":            {func(o *Options) { o.Main = "/x" }, "not among the files"},
		"zero byte":          {func(o *Options) { o.Args = []string{"a\x00b"} }, "zero byte"},
	} {
		t.Run(name, func(t *testing.T) {
			o := good
			tt.change(&o)
			out := t.TempDir()
			f, err := os.Create(filepath.Join(out, "out"))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if c, err := Build(f, out, o); err == nil || c != nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if left, _ := os.ReadDir(out); len(left) != 1 {
				t.Errorf("files are left: %v", left)
			}
		})
	}
}

func TestAllocate(t *testing.T) {
	for _, tt := range []struct{ size, more, want int64 }{
		{0, 0, 512}, {66 << 20, 0, 512}, {128 << 20, 0, 512}, {128<<20 + 1, 0, 576}, {700 << 20, 0, 2816}, {1, 1, 576}, {4 << 30, 100, 16512},
	} {
		a := Allocate(tt.size, tt.more, 2)
		if a.MemoryMiB != tt.want || a.CPUs != 2 || a.MemoryMiB<<20 < 4*tt.size {
			t.Errorf("%d bytes and %d MiB: %+v", tt.size, tt.more, a)
		}
	}
	if got := string(Allocate(0, 0, 4).YAML()); !strings.Contains(got, "\nmemory_mib: 512\ncpu_count: 4\n") {
		t.Error(got)
	}
}
