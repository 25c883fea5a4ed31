package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// machines are the architectures by their names in images, with the folder
// that Debian has for their libraries.
var machines = map[string]struct {
	machine elf.Machine
	triplet string
}{
	"x86_64": {elf.EM_X86_64, "x86_64-linux-gnu"},
	"arm64":  {elf.EM_AARCH64, "aarch64-linux-gnu"},
}

// archOf returns the architecture of a program or library.
func archOf(path string) (string, error) {
	f, err := openELF(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	for name, m := range machines {
		if f.Machine == m.machine && f.Class == elf.ELFCLASS64 {
			return name, nil
		}
	}
	return "", fmt.Errorf("image: %s is for %v, which no enclave has", path, f.Machine)
}

func openELF(path string) (*elf.File, error) {
	f, err := elf.Open(path)
	if _, ok := errors.AsType[*fs.PathError](err); err != nil && !ok {
		return nil, fmt.Errorf("image: %s is no program or library for Linux: %w", path, err)
	}
	return f, err
}

// linker finds shared libraries as ld.so does: along the RUNPATH of who needs
// one, then in the folders of the system. LD_LIBRARY_PATH does not count: it is
// not there in an enclave.
type linker struct {
	arch string
	dirs []string
	// found are the libraries by the names by which they are needed, which are
	// those of their files in the image.
	found map[string]*object
}

// object is a program or library.
type object struct {
	path     string
	interp   string // the program's own linker
	needed   []string
	runpath  []string
	needs    []elf.DynamicVersionNeed
	provides []elf.DynamicVersion
}

// newLinker returns a linker that looks into dirs before the system's folders.
func newLinker(arch string, dirs []string) *linker {
	triplet := machines[arch].triplet
	dirs = slices.Clone(dirs)
	dirs = append(dirs, configuredDirs("/etc/ld.so.conf", 0)...)
	dirs = append(dirs, "/lib/"+triplet, "/usr/lib/"+triplet, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
	return &linker{arch: arch, dirs: dirs, found: map[string]*object{}}
}

// configuredDirs reads the folders that a file of ld.so's configuration names.
func configuredDirs(file string, depth int) (dirs []string) {
	data, err := os.ReadFile(file)
	if err != nil || depth > 4 {
		return nil
	}
	for line := range strings.Lines(string(data)) {
		line, _, _ = strings.Cut(line, "#")
		line = strings.TrimSpace(line)
		if pattern, ok := strings.CutPrefix(line, "include "); ok {
			pattern = strings.TrimSpace(pattern)
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(file), pattern)
			}
			files, _ := filepath.Glob(pattern)
			for _, f := range files {
				dirs = append(dirs, configuredDirs(f, depth+1)...)
			}
		} else if filepath.IsAbs(line) {
			dirs = append(dirs, line)
		}
	}
	return dirs
}

// add finds all that the program or library at path needs, and returns it.
func (l *linker) add(path string) (*object, error) {
	o, err := l.open(path)
	if err != nil {
		return nil, err
	}
	return o, l.resolve(o)
}

// open reads an object, which must be for the linker's architecture.
func (l *linker) open(path string) (*object, error) {
	f, err := openELF(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if f.Machine != machines[l.arch].machine || f.Class != elf.ELFCLASS64 {
		return nil, fmt.Errorf("image: %s is for %v, the image for %s", path, f.Machine, l.arch)
	}
	o := &object{path: path}
	if o.path, err = filepath.Abs(path); err != nil { // $ORIGIN is absolute
		return nil, err
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		if p.Filesz == 0 || p.Filesz > 4096 {
			return nil, fmt.Errorf("image: %s names a linker of %d bytes", path, p.Filesz)
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return nil, fmt.Errorf("image: %s: %w", path, err)
		}
		o.interp = strings.TrimRight(string(b), "\x00")
	}
	if f.SectionByType(elf.SHT_DYNAMIC) == nil {
		return o, nil // linked statically
	}
	if o.needed, err = f.ImportedLibraries(); err != nil {
		return nil, fmt.Errorf("image: %s: %w", path, err)
	}
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		list, err := f.DynString(tag)
		if err != nil {
			return nil, fmt.Errorf("image: %s: %w", path, err)
		}
		for _, dirs := range list {
			o.runpath = append(o.runpath, strings.Split(dirs, ":")...)
		}
		if len(o.runpath) > 0 {
			break // where there is a RUNPATH, no RPATH counts
		}
	}
	if err := o.readVersions(f); err != nil {
		return nil, fmt.Errorf("image: %s: its table of versions cannot be read: %w", path, err)
	}
	return o, nil
}

// readVersions reads which versions of libraries an object needs, and which it
// provides. Objects without versions have no sections for them; a section that
// cannot be read, or is empty, is not taken for none, since nothing would then be
// checked.
func (o *object) readVersions(f *elf.File) (err error) {
	needs, provides := f.SectionByType(elf.SHT_GNU_VERNEED), f.SectionByType(elf.SHT_GNU_VERDEF)
	if needs != nil {
		if o.needs, err = f.DynamicVersionNeeds(); err == nil && len(o.needs) == 0 {
			err = errors.New("an empty section " + needs.Name)
		}
	}
	if provides != nil && err == nil {
		if o.provides, err = f.DynamicVersions(); err == nil && len(o.provides) == 0 {
			err = errors.New("an empty section " + provides.Name)
		}
	}
	return err
}

// resolve finds what o needs, and what that needs.
func (l *linker) resolve(o *object) error {
	for _, name := range o.needed {
		if l.found[name] != nil {
			continue
		}
		lib, err := l.find(name, o)
		if err != nil {
			return err
		}
		l.found[name] = lib
		if err := l.resolve(lib); err != nil {
			return err
		}
	}
	return l.checkVersions(o)
}

// find looks for a library that o needs. Those for other machines are passed
// over, as ld.so does.
func (l *linker) find(name string, o *object) (*object, error) {
	if name != filepath.Base(name) {
		return nil, fmt.Errorf("image: %s needs %q, a library by its path, which the image would have elsewhere", o.path, name)
	}
	var dirs []string
	for _, dir := range o.runpath {
		dir = strings.NewReplacer("${ORIGIN}", filepath.Dir(o.path), "$ORIGIN", filepath.Dir(o.path)).Replace(dir)
		if filepath.IsAbs(dir) {
			dirs = append(dirs, dir)
		}
	}
	dirs = append(dirs, l.dirs...)
	var other error
	for _, dir := range dirs {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
			continue
		}
		lib, err := l.open(path)
		if err == nil {
			return lib, nil
		}
		other = err
	}
	if other != nil {
		return nil, fmt.Errorf("image: %s needs %s, and what there is does not fit: %w", o.path, name, other)
	}
	return nil, fmt.Errorf("image: %s needs %s, which is in none of %s", o.path, name, strings.Join(compact(dirs), ", "))
}

// checkVersions makes sure that libraries are as new as o wants them: ld.so
// would find out in the enclave only.
func (l *linker) checkVersions(o *object) error {
	for _, need := range o.needs {
		lib := l.found[need.Name]
		if lib == nil || len(lib.provides) == 0 {
			continue // linked statically, or a library without versions
		}
		for _, dep := range need.Needs {
			if dep.Flags&elf.VER_FLG_WEAK == 0 && !slices.ContainsFunc(lib.provides, func(v elf.DynamicVersion) bool { return v.Name == dep.Dep }) {
				return fmt.Errorf("image: %s needs %s of %s, which %s is too old for", o.path, dep.Dep, need.Name, lib.path)
			}
		}
	}
	return nil
}

// compact drops what comes again.
func compact(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
