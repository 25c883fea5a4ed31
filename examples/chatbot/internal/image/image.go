package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nitroseal/nitroseal/attest/eif"
	"github.com/nitroseal/nitroseal/examples/chatbot/internal/pid1"
)

// Where an image has what a program is told of.
const (
	// ProgramPath is the program itself.
	ProgramPath = "/chatbot"
	// LibraryDir holds libllama and its backends.
	LibraryDir = "/llama"
	// ModelPath is the model.
	ModelPath = "/model.gguf"

	libDir = "/lib64"
)

// DefaultCmdline is for Nitro and for QEMU: no messages but errors on the
// serial console, which only debug mode shows; restart by the keyboard
// controller, which is what Nitro has, and at once after a panic; and let the
// processor's own random numbers count, so that booting does not wait for
// others. Those of the NSM are mixed in later.
const DefaultCmdline = "console=ttyS0 quiet reboot=k panic=-1 random.trust_cpu=on"

// Options says what goes into an image.
type Options struct {
	// Arch is "x86_64" or "arm64"; empty means the program's.
	Arch string
	// Program is the file that is init and runs. Required.
	Program string
	// Args are its arguments. In them, LibraryDir and ModelPath name what
	// Library and Model say.
	Args []string
	// Env is its environment besides PATH, HOME and TMPDIR.
	Env []string
	// Main, if not empty, is what init runs in place of the program itself: a
	// name of Files.
	Main string
	// ParentCID is whom init sends the heartbeat to. 0 means 3, as on Nitro.
	ParentCID uint32
	// Library is the file of libllama; backends lie beside it. Empty means
	// none.
	Library string
	// LibraryDirs are where shared libraries are looked for first.
	LibraryDirs []string
	// Model is a file for ModelPath. Empty means none.
	Model string
	// Files are others, by their absolute names in the enclave.
	Files map[string]string
	// Kernel is a bzImage, for arm64 an Image. Required.
	Kernel string
	// ModulesDir has the kernel's modules, those in Modules and, where there
	// are any, DefaultModules. Empty means that the kernel has all built in.
	ModulesDir string
	Modules    []string
	// Cmdline of the kernel; empty means DefaultCmdline.
	Cmdline string
	// Metadata and Signer are those of eif.BuildOptions.
	Metadata json.RawMessage
	Signer   *eif.Signer
}

// Contents says what Build has put into an image.
type Contents struct {
	// Image is what eif.Read returns of it, and Size its size in bytes.
	Image *eif.Image
	Size  int64
	// Kernel is its release, empty if the file does not tell.
	Kernel string
	// Modules are in the order in which they are loaded.
	Modules []string
	// Libraries are files of this machine by their names in the enclave.
	Libraries map[string]string
}

// Build writes an image to w, which is empty. It needs as much room in dir as
// the ramdisks have. Errors name the file that is wrong.
func Build(w io.WriteSeeker, dir string, o Options) (*Contents, error) {
	p, err := o.plan()
	if err != nil {
		return nil, err
	}
	kernel, err := os.Open(o.Kernel)
	if err != nil {
		return nil, err
	}
	defer kernel.Close()
	opts := eif.BuildOptions{Arch: p.arch, Kernel: kernel, Cmdline: o.Cmdline, Metadata: o.Metadata, Signer: o.Signer}
	if opts.Cmdline == "" {
		opts.Cmdline = DefaultCmdline
	}
	for _, a := range []archive{p.boot, p.app} {
		f, err := os.CreateTemp(dir, "ramdisk-*")
		if err != nil {
			return nil, err
		}
		defer os.Remove(f.Name())
		defer f.Close()
		if err := a.write(f); err != nil {
			return nil, err
		}
		opts.Ramdisks = append(opts.Ramdisks, f)
	}
	if p.contents.Image, err = eif.Build(w, opts); err != nil {
		return nil, err
	}
	if p.contents.Size, err = w.Seek(0, io.SeekEnd); err != nil {
		return nil, err
	}
	return &p.contents, nil
}

// plan is an image whose files have been found.
type plan struct {
	arch      string
	boot, app archive
	linker    *linker
	contents  Contents
}

func (o *Options) plan() (*plan, error) {
	if o.Program == "" || o.Kernel == "" {
		return nil, errors.New("image: a program and a kernel are required")
	}
	arch, err := archOf(o.Program)
	if err != nil {
		return nil, err
	}
	if o.Arch != "" && o.Arch != arch {
		return nil, fmt.Errorf("image: %s is for %s, the image for %s", o.Program, arch, o.Arch)
	}
	p := &plan{arch: arch, boot: archive{}, app: archive{}, linker: newLinker(arch, o.LibraryDirs)}
	p.contents.Libraries = map[string]string{}
	if p.contents.Kernel, err = kernelRelease(o.Kernel, arch); err != nil {
		return nil, err
	}
	for _, add := range []func(*Options) error{p.addRoot, p.addModules, p.addProgram, p.addLibrary, p.addFiles, p.addConfig} {
		if err := add(o); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// addRoot adds what every root file system has. All folders that ld.so of some
// distribution looks into are the same one.
func (p *plan) addRoot(*Options) error {
	for _, dir := range []string{"/dev", "/etc", "/proc", "/run", "/sys", "/tmp", libDir, "/usr"} {
		p.boot.dir(dir)
	}
	p.boot.link("/lib", "lib64")
	p.boot.link("/usr/lib", "../lib64")
	p.boot.link("/usr/lib64", "../lib64")
	// The kernel opens it for init.
	p.boot["/dev/console"] = node{mode: typeChar | 0o600, major: 5, minor: 1}
	return nil
}

func (p *plan) addModules(o *Options) error {
	if o.ModulesDir == "" {
		if len(o.Modules) > 0 {
			return errors.New("image: modules are named, and no folder that has them")
		}
		return nil
	}
	m, err := openModules(o.ModulesDir, p.contents.Kernel)
	if err != nil {
		return err
	}
	list, err := m.load(DefaultModules, o.Modules)
	if err != nil {
		return err
	}
	for i, module := range list {
		p.boot.bytes(fmt.Sprintf("%s/%03d-%s.ko", pid1.ModulesDir, i, module.name), module.data)
		p.contents.Modules = append(p.contents.Modules, module.name)
	}
	return nil
}

func (p *plan) addProgram(o *Options) error {
	program, err := p.linker.add(o.Program)
	if err != nil {
		return err
	}
	if program.interp == "" && o.Library != "" {
		return fmt.Errorf("image: %s is linked statically and cannot load libllama", o.Program)
	}
	if err := p.boot.file(ProgramPath, o.Program); err != nil {
		return err
	}
	p.boot[ProgramPath] = node{mode: typeFile | 0o755, source: o.Program}
	p.boot.link(pid1.Name, strings.TrimPrefix(ProgramPath, "/"))
	if program.interp != "" {
		if err := p.addInterp(program.interp); err != nil {
			return err
		}
	}
	return p.addFound(p.boot)
}

// addInterp adds the linker that the program names by its path. It belongs to
// the C library, which needs it as well: one and the same file.
func (p *plan) addInterp(interp string) error {
	source := interp
	if lib := p.linker.found[path.Base(interp)]; lib != nil {
		source = lib.path
	}
	if _, err := p.linker.open(source); err != nil {
		return err
	}
	name := path.Clean(interp)
	if slices.Contains([]string{"/lib", "/lib64", "/usr/lib", "/usr/lib64"}, path.Dir(name)) {
		name = libDir + "/" + path.Base(name) // the same folder
	}
	p.contents.Libraries[name] = source
	return p.boot.file(name, source)
}

// addFound adds to a ramdisk what the linker has found since the last time.
func (p *plan) addFound(a archive) error {
	for _, name := range slices.Sorted(maps.Keys(p.linker.found)) {
		at := libDir + "/" + name
		if p.contents.Libraries[at] != "" {
			continue
		}
		source := p.linker.found[name].path
		p.contents.Libraries[at] = source
		if err := a.file(at, source); err != nil {
			return err
		}
	}
	return nil
}

// addLibrary adds libllama, with the backends for all processors: which one
// fits is seen when it starts.
func (p *plan) addLibrary(o *Options) error {
	if o.Library == "" {
		return nil
	}
	real, err := filepath.EvalSymlinks(o.Library)
	if err != nil {
		return err
	}
	files := []string{o.Library}
	for _, pattern := range []string{"libggml-cpu*.so", "ggml/libggml-cpu*.so", "ggml/*/libggml-cpu*.so"} {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(real), pattern))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	if len(files) == 1 {
		return fmt.Errorf("image: there is no backend libggml-cpu*.so beside %s", real)
	}
	for _, file := range files {
		if _, err := p.linker.add(file); err != nil {
			return err
		}
		at := LibraryDir + "/" + filepath.Base(file)
		p.contents.Libraries[at] = file
		if err := p.app.file(at, file); err != nil {
			return err
		}
	}
	return p.addFound(p.app)
}

// reserved are names that the image or init uses, with all below them.
var reserved = []string{"/init", ProgramPath, "/dev", "/lib", "/lib64", "/usr", "/modules", "/proc", "/run", "/sys", "/tmp", LibraryDir, ModelPath, pid1.ConfigFile}

func (p *plan) addFiles(o *Options) error {
	if o.Model != "" {
		if err := p.app.file(ModelPath, o.Model); err != nil {
			return err
		}
	}
	for name, source := range o.Files {
		if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsRune(name, 0) {
			return fmt.Errorf("image: %q is not an absolute name of a file", name)
		}
		for _, r := range reserved {
			if name == r || strings.HasPrefix(name, r+"/") {
				return fmt.Errorf("image: %s cannot be a file of one's own: %s is the image's", name, r)
			}
		}
		if err := p.app.file(name, source); err != nil {
			return err
		}
	}
	for name := range o.Files {
		for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
			if _, ok := o.Files[dir]; ok {
				return fmt.Errorf("image: %s is a file, and %s lies in it", dir, name)
			}
		}
	}
	return nil
}

func (p *plan) addConfig(o *Options) error {
	c := pid1.Config{
		Command:   append([]string{ProgramPath}, o.Args...),
		Env:       append([]string{"PATH=/", "HOME=/tmp", "TMPDIR=/tmp"}, o.Env...),
		ParentCID: o.ParentCID,
	}
	if o.Main != "" {
		if o.Files[o.Main] == "" {
			return fmt.Errorf("image: %s shall run, and is not among the files", o.Main)
		}
		c.Command[0] = o.Main
	}
	if c.ParentCID == 0 {
		c.ParentCID = 3
	}
	data, err := c.Encode()
	if err != nil {
		return err
	}
	p.app.bytes(pid1.ConfigFile, data)
	return nil
}
