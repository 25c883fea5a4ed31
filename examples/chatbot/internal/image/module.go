package image

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxModule bounds one kernel module, in bytes.
const maxModule = 64 << 20

// DefaultModules are what an enclave may need, in the order in which they are
// loaded: the bus of Nitro's devices, the security module and vsock. A kernel
// may have them built in, or be too old for nsm.
var DefaultModules = []string{"virtio_mmio", "nsm", "vsock", "vmw_vsock_virtio_transport"}

// module is a kernel module.
type module struct {
	name string
	data []byte
}

// modules are those of one kernel.
type modules struct {
	dir     string
	release string            // of the kernel, or ""
	paths   map[string]string // by name
	builtin map[string]bool   // what the kernel has without modules, as far as it tells
}

// openModules looks for modules in dir, which is lib/modules/RELEASE of a
// kernel or a folder above it, such as the root of an unpacked package.
func openModules(dir, release string) (*modules, error) {
	if release != "" {
		for _, below := range []string{"", "lib/modules", "usr/lib/modules"} {
			if d := filepath.Join(dir, below, release); isDir(d) {
				dir = d
				break
			}
		}
	}
	m := &modules{dir: dir, release: release, paths: map[string]string{}, builtin: map[string]bool{}}
	list, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(list)) {
		m.builtin[moduleName(strings.TrimSuffix(strings.TrimSpace(line), ".ko"))] = true
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, ext, ok := strings.Cut(filepath.Base(path), ".ko"); err == nil && ok && !d.IsDir() && (ext == "" || ext[0] == '.') {
			name := moduleName(base)
			if m.paths[name] != "" {
				return fmt.Errorf("image: there are two modules %s in %s: name the folder of one kernel", name, dir)
			}
			m.paths[name] = path
		}
		return err
	})
	return m, err
}

// moduleName is the name of a module's file as the kernel writes it.
func moduleName(file string) string { return strings.ReplaceAll(filepath.Base(file), "-", "_") }

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// load reads modules and those they need, in an order in which they can be
// loaded. Of optional ones, which come first, it reads those that there are;
// of the others, those that are not built in.
func (m *modules) load(optional, names []string) ([]module, error) {
	var list []module
	seen := map[string]bool{}
	var all []string
	for _, name := range optional {
		if m.paths[name] != "" {
			all = append(all, name)
		}
	}
	for _, name := range append(all, names...) {
		if err := m.add(&list, seen, moduleName(name)); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// add appends a module to list after those that it needs.
func (m *modules) add(list *[]module, seen map[string]bool, name string) error {
	if seen[name] || m.builtin[name] {
		return nil
	}
	seen[name] = true
	path := m.paths[name]
	if path == "" {
		return fmt.Errorf("image: no module %s in %s, and the kernel does not say that it is built in", name, m.dir)
	}
	data, err := readModule(path)
	if err != nil {
		return err
	}
	info, err := moduleInfo(data)
	if err != nil {
		return fmt.Errorf("image: %s is no kernel module: %w", path, err)
	}
	if made, _, _ := strings.Cut(info["vermagic"], " "); m.release != "" && made != m.release {
		return fmt.Errorf("image: %s is for the kernel %s, the kernel is %s", path, made, m.release)
	}
	for dep := range strings.SplitSeq(info["depends"], ",") {
		if dep == "" {
			continue
		}
		if err := m.add(list, seen, moduleName(dep)); err != nil {
			return err
		}
	}
	*list = append(*list, module{name, data})
	return nil
}

// moduleInfo reads what modinfo(8) shows.
func moduleInfo(data []byte) (map[string]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil || section.Size > 1<<20 {
		return nil, errors.New("it has no usable .modinfo")
	}
	text, err := section.Data()
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for entry := range strings.SplitSeq(string(text), "\x00") {
		if name, value, ok := strings.Cut(entry, "="); ok {
			info[name] = value
		}
	}
	return info, nil
}

// readModule reads a module, which may be compressed: init does not unpack
// them. The programs xz and zstd do, where one is needed.
func readModule(path string) ([]byte, error) {
	switch filepath.Ext(path) {
	case ".ko":
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readModuleFrom(f, path)
	case ".gz":
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("image: %s: %w", path, err)
		}
		return readModuleFrom(z, path)
	case ".xz":
		return unpackModule(path, "xz")
	case ".zst":
		return unpackModule(path, "zstd")
	}
	return nil, fmt.Errorf("image: %s is compressed in an unknown way", path)
}

func readModuleFrom(r io.Reader, path string) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("image: %s: %w", path, err)
	case len(data) > maxModule:
		return nil, fmt.Errorf("image: %s has more than %d bytes", path, maxModule)
	}
	return data, nil
}

func unpackModule(path, program string) ([]byte, error) {
	cmd := exec.Command(program, "-dc", "--", path)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("image: unpacking %s: %w", path, err)
	}
	data, err := readModuleFrom(out, path)
	if err != nil {
		cmd.Process.Kill()
	}
	if waited := cmd.Wait(); err == nil && waited != nil {
		err = fmt.Errorf("image: unpacking %s with %s: %w", path, program, waited)
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
